"""Amending a model package: files that come after training, listed with their hashes like the rest.

The description is written anew; comments that somebody put into ``model.toml`` do not stay.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path

from kwsd.errors import OutputError
from kwsd.model.find import SHIPPED, model_folders
from kwsd.model.package import DESCRIPTION_FILE, ModelPackage, load_package
from kwsd.model.toml_text import toml_text
from kwsd.model.write import install


def amend_package(folder: Path, extra: Mapping[str, bytes], target: Path) -> ModelPackage:
    """A package with more files, or with other ones of the same names.

    Parameters
    ----------
    folder : Path
        The package.
    extra : mapping of str to bytes
        Plain file names and contents.
    target : Path
        Where the amended package goes: `folder` itself, or a place where nothing is yet.

    Raises
    ------
    OutputError
        The target is taken or cannot be written; the package is as it was.
    ModelError
        The package or what would become of it must not be used.
    """
    load_package(folder)
    if target.resolve() == folder.resolve():
        # A link stays one.
        target = folder.resolve()
    elif target.exists():
        raise OutputError(f"{target} exists and is not replaced; name another folder or remove it")
    files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    table = tomllib.loads(files[DESCRIPTION_FILE].decode())
    files |= extra
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in extra.items()}
    table["files"] = dict(sorted({**table["files"], **hashes}.items()))
    files[DESCRIPTION_FILE] = toml_text(table).encode()
    return install(target, files)


def amended_place(package: ModelPackage) -> Path:
    """Its own folder; a package that came with kwsd is copied to where the user's are."""
    if package.path.resolve().is_relative_to(SHIPPED.resolve()):
        return model_folders()[0] / package.name
    return package.path
