"""Manifest of a network for NCNN: ``model.ncnn.toml`` beside its two files in a package.

It ties the files to the network that they were made from and states how far off they may be::

    format = 1
    network_sha256 = "…"    # of model.tflite
    param_sha256 = "…"      # of model.ncnn.param
    weights_sha256 = "…"    # of model.ncnn.bin
    tolerance = 1           # largest difference from the package's vectors, stored units
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from kwsd.digest import sha256_hex
from kwsd.errors import ModelError
from kwsd.model.fields import Fields
from kwsd.model.package import NETWORK_FILE, ModelPackage
from kwsd.runtime.failure import RuntimeFailure

PARAM_FILE = "model.ncnn.param"
WEIGHTS_FILE = "model.ncnn.bin"
NCNN_MANIFEST_FILE = "model.ncnn.toml"
NCNN_FORMAT = 1


@dataclass(frozen=True)
class NcnnPart:
    """The part of a package that NCNN loads."""

    param: Path
    """Layers."""

    weights: Path
    """Weights."""

    tolerance: int
    """Largest difference from the package's vectors in stored units."""


def load_ncnn_part(package: ModelPackage) -> NcnnPart:
    """Read the manifest and hold it against the package's files.

    Raises
    ------
    RuntimeFailure
        ``no-graph`` (nobody exported it), ``bad-graph`` (a file is missing or not the one that was
        exported) or ``manifest-mismatch`` (the manifest is wrong, or made from another network).
    """
    folder = package.path
    again = f"kwsmodel export {package.name} --format ncnn"
    if not (folder / NCNN_MANIFEST_FILE).is_file():
        raise RuntimeFailure(
            "no-graph", f"package {package.name} has no {NCNN_MANIFEST_FILE}: {again}"
        )
    try:
        tolerance, sums = _read(folder / NCNN_MANIFEST_FILE)
    except (OSError, ModelError, ValueError, RecursionError) as error:
        raise RuntimeFailure(
            "manifest-mismatch", f"{folder / NCNN_MANIFEST_FILE}: {error}; {again}"
        ) from None
    for name, want in sums.items():
        file = folder / name
        try:
            found = sha256_hex(file.read_bytes())
        except OSError as error:
            raise RuntimeFailure("bad-graph", f"{file}: {error.strerror}; {again}") from None
        if found == want:
            continue
        said = f"has sha256 {found[:12]}…, {NCNN_MANIFEST_FILE} says {want[:12]}…"
        if name == NETWORK_FILE:
            raise RuntimeFailure(
                "manifest-mismatch", f"{file} {said}: NCNN's files are of another network; {again}"
            )
        raise RuntimeFailure("bad-graph", f"{file} {said}; {again}")
    return NcnnPart(folder / PARAM_FILE, folder / WEIGHTS_FILE, tolerance)


def _read(file: Path) -> tuple[int, dict[str, str]]:
    """Tolerance, and the hash of each file."""
    root = Fields(NCNN_MANIFEST_FILE, "", tomllib.loads(file.read_text(encoding="utf-8")))
    root.integer("format", NCNN_FORMAT, NCNN_FORMAT)
    tolerance = root.integer("tolerance", 0, 127)
    sums = {
        NETWORK_FILE: root.text("network_sha256"),
        PARAM_FILE: root.text("param_sha256"),
        WEIGHTS_FILE: root.text("weights_sha256"),
    }
    root.finish()
    return tolerance, sums
