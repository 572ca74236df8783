"""Files of the work folder: whole or not there, and a full disk is said in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kwsd.errors import OutputError
from kwsd.output_file import OutputFile


@contextmanager
def work_file(path: Path) -> Iterator[Path]:
    """Make a file, and its folder if that is not there.

    Parameters
    ----------
    path : Path
        Where it belongs.

    Yields
    ------
    Path
        Where to write it; leaving the context moves it to its place.

    Raises
    ------
    OutputError
        The disk is full or the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with OutputFile(path) as place:
            yield place.partial
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; what was made before it is "
            "kept: make room, or move the folder and name it with --work, and run the same "
            "command again"
        ) from None
