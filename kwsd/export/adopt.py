"""Adopting NCNN's files: both and their manifest put into a package, listed with their hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kwsd.export.ncnn import ncnn_files
from kwsd.model.amend import amend_package
from kwsd.model.package import ModelPackage
from kwsd.model.toml_text import toml_text
from kwsd.runtime.ncnn_manifest import NCNN_FORMAT, NCNN_MANIFEST_FILE, PARAM_FILE, WEIGHTS_FILE

NCNN_TOLERANCE = 2
"""Stored units. Both shipped models reproduce their vectors with none; what may differ on another
processor is the rounding of a tie in an addition and the sigmoid, by one unit each."""


def adopt_ncnn(package: ModelPackage, tolerance: int, folder: Path) -> ModelPackage:
    """Convert a package's network and put the files into the package.

    Parameters
    ----------
    package : ModelPackage
        The model.
    tolerance : int
        Largest difference from the package's vectors that the runtime may show, stored units.
    folder : Path
        Where the package with the files goes: its own folder or a new one.

    Raises
    ------
    MissingFileError, ModelError
        The network cannot be read or converted.
    OutputError
        The package cannot be written; it is as it was.
    """
    files = ncnn_files(package)

    def sha256(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    manifest = {
        "format": NCNN_FORMAT,
        "network_sha256": sha256(package.network.read_bytes()),
        "param_sha256": sha256(files.param),
        "weights_sha256": sha256(files.weights),
        "tolerance": tolerance,
    }
    extra = {
        PARAM_FILE: files.param,
        WEIGHTS_FILE: files.weights,
        NCNN_MANIFEST_FILE: toml_text(manifest).encode(),
    }
    return amend_package(package.path, extra, folder)
