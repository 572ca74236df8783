"""From what a user writes after `--model` to a package folder or a microWakeWord manifest."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kwsd.errors import MissingFileError
from kwsd.model.package import DESCRIPTION_FILE

MANIFEST_SUFFIX = ".json"
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
    """Names of every package of our own that can be found."""
    found: set[str] = set()
    for folder in model_folders():
        # A folder that may not be read has nothing to offer.
        with suppress(OSError):
            found.update(p.name for p in folder.iterdir() if _is_package(p))
    return sorted(found)


def known_manifests() -> list[str]:
    """Names of the microWakeWord manifests that lie in the folders."""
    found: set[str] = set()
    for folder in model_folders():
        with suppress(OSError):
            found.update(p.stem for p in folder.glob("*" + MANIFEST_SUFFIX))
    return sorted(found)


def _is_package(folder: Path) -> bool:
    try:
        return (folder / DESCRIPTION_FILE).is_file()
    except OSError:
        return False


def find_model(name_or_path: str) -> Path:
    """A package folder of our own format, or the manifest of a microWakeWord package.

    Parameters
    ----------
    name_or_path : str
        A path to one of both or to a folder that holds one manifest; or a name such as
        ``computer``, for `computer/` or `computer.json` in one of `model_folders`.

    Raises
    ------
    MissingFileError
        None of these is there, or a folder holds several manifests; says what to name.
    """
    path = Path(name_or_path)
    if path.suffix == MANIFEST_SUFFIX:
        if not is_file(path):
            raise MissingFileError(
                f"{path} is not there: name a microWakeWord manifest, a package folder or a model"
            )
        return path
    if not _is_package(path):
        manifest = _only_manifest(path)
        if manifest is None and name_or_path and path.name == name_or_path:
            manifest = _named_manifest(name_or_path)
        if manifest is not None:
            return manifest
    return find_package(name_or_path, known_manifests())


def _named_manifest(name: str) -> Path | None:
    """The manifest of that name, unless one of our packages comes before it."""
    for folder in model_folders():
        if _is_package(folder / name):
            return None
        if is_file(folder / (name + MANIFEST_SUFFIX)):
            return folder / (name + MANIFEST_SUFFIX)
        manifest = _only_manifest(folder / name)
        if manifest is not None:
            return manifest
    return None


def _only_manifest(folder: Path) -> Path | None:
    """The manifest in a folder: named as the folder is, or the only one."""
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix == MANIFEST_SUFFIX)
    except (OSError, ValueError):  # ValueError: a name that no folder can have
        return None
    if len(found) > 1:
        named = [p for p in found if p.stem == folder.resolve().name]
        if not named:
            names = ", ".join(p.name for p in found)
            raise MissingFileError(f"{folder} holds several models ({names}): name one of them")
        found = named
    return found[0] if found else None


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that no file can have is none."""
    with suppress(OSError, ValueError):
        return path.is_file()
    return False


def find_package(name_or_folder: str, others: Sequence[str] = ()) -> Path:
    """A package folder by path or by name.

    Parameters
    ----------
    name_or_folder : str
        A path (anything with a separator, or an existing folder) or a name such as ``computer``.
    others : sequence of str
        Names that the caller would have taken as well, for the message.

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
    names = sorted({*known_models(), *others})
    near = difflib.get_close_matches(name_or_folder, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    there = ", ".join(names) or "none"
    raise MissingFileError(
        f"no model {name_or_folder!r}: {hint}installed are {there}; or name a package folder"
    )
