"""Output folders: made beside their place, moved there when complete; what is not ours stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from kwsd.errors import OutputError


@contextmanager
def output_folder(folder: Path, own: Collection[str] = ()) -> Iterator[Path]:
    """Make a folder that is there as a whole or not at all.

    Parameters
    ----------
    folder : Path
        Where it belongs; folders above it are made.
    own : collection of str
        Files of what is there now, by their paths below it, that may go.

    Yields
    ------
    Path
        An empty folder to fill; leaving the context moves it to its place, an exception removes it.

    Raises
    ------
    OutputError
        The place holds something else or cannot be written, or the disk is full; what was there is
        there still.
    """
    check_own(folder, own)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that moving it is one rename.
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    try:
        fresh = work / "new"
        fresh.mkdir()
        yield fresh
        if folder.is_dir():
            folder.rename(work / "old")
        fresh.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        _clean_up(work, folder)


def check_own(folder: Path, own: Collection[str]) -> None:
    """Raise `OutputError` where a folder holds a file that is not among `own`."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in own and not path.is_dir():
            raise OutputError(
                f"{folder} holds {name}, which would be lost: move it away, or name another folder"
            )


def _clean_up(work: Path, folder: Path) -> None:
    """Put the old folder back if no new one took its place, whatever stopped it; drop the rest."""
    old = work / "old"
    if old.is_dir() and not os.path.lexists(folder):
        try:
            old.rename(folder)
        except OSError as error:
            raise OutputError(
                f"{folder} cannot be put back: {error.strerror}; what it held is in {old}"
            ) from None
    shutil.rmtree(work, ignore_errors=True)
