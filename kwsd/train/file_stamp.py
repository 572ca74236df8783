"""What tells one state of a file from another, for the keys of what is made from it."""

from __future__ import annotations

from pathlib import Path


def stamp(path: Path) -> tuple[str, int, int]:
    """Place, bytes and time of the last change (ns); -1 for what cannot be looked at.

    A hash of hours of recordings would cost every start of a training more than it protects from.
    """
    try:
        found = path.stat()
    except OSError:
        return str(path.resolve()), -1, -1
    return str(path.resolve()), found.st_size, found.st_mtime_ns
