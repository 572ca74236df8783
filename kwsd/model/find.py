"""From what a user writes after `--model` to a package folder."""

from __future__ import annotations

import difflib
import os
from contextlib import suppress
from pathlib import Path

from kwsd.errors import MissingFileError
from kwsd.model.package import DESCRIPTION_FILE

SHIPPED = Path(__file__).resolve().parents[1] / "models"


def model_folders() -> list[Path]:
    """Where names are looked up, first match first: the user's, the machine's, the shipped ones."""
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return [
        Path(data) / "kwsd" / "models",
        Path("/var/lib/kwsd/models"),
        Path("/usr/share/kwsd/models"),
        SHIPPED,
    ]


def known_models() -> list[str]:
    """Names of every package that can be found."""
    found: set[str] = set()
    for folder in model_folders():
        # A folder that may not be read has nothing to offer.
        with suppress(OSError):
            found.update(p.name for p in folder.iterdir() if _is_package(p))
    return sorted(found)


def _is_package(folder: Path) -> bool:
    try:
        return (folder / DESCRIPTION_FILE).is_file()
    except OSError:
        return False


def find_package(name_or_folder: str) -> Path:
    """A package folder by path or by name.

    Parameters
    ----------
    name_or_folder : str
        A path (anything with a separator, or an existing folder) or a name such as ``computer``.

    Raises
    ------
    MissingFileError
        Neither a folder nor a known name; says which names there are.
    """
    path = Path(name_or_folder)
    if _is_package(path):
        return path
    if name_or_folder and path.name == name_or_folder:
        for folder in model_folders():
            if _is_package(folder / name_or_folder):
                return folder / name_or_folder
    if os.path.isdir(path):
        raise MissingFileError(f"{path} is no model package: it has no {DESCRIPTION_FILE}")
    names = known_models()
    near = difflib.get_close_matches(name_or_folder, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    there = ", ".join(names) or "none"
    raise MissingFileError(
        f"no model {name_or_folder!r}: {hint}installed are {there}; or name a package folder"
    )
