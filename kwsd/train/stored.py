"""Stored: files of the work folder that spare work, read again or left aside where damaged."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kwsd.errors import first_line
from kwsd.progress import Report

T = TypeVar("T")

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
)
"""What numpy and torch raise of a file that was cut off or overwritten."""


def read_stored(path: Path, read: Callable[[Path], T], report: Report) -> T | None:
    """What a file holds; None, and a line about it, where it is damaged, None where there is none.

    Parameters
    ----------
    path : Path
        The file.
    read : callable
        Reads it.
    report : callable
        Gets the line.
    """
    if not path.is_file():
        return None
    try:
        return read(path)
    except DAMAGE as error:
        report(f"{path} is damaged and made anew: {first_line(error)}")
        return None
