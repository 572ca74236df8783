"""Writing a model package: complete and checked, or not there at all."""

from __future__ import annotations

import hashlib
import io
import os
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import OutputError
from kwsd.model.package import (
    DESCRIPTION_FILE,
    FORMAT,
    NETWORK_FILE,
    ModelPackage,
    Sensitivity,
    StatePair,
    TensorSpec,
    Timing,
    feature_table,
    load_package,
)
from kwsd.model.toml_text import toml_text
from kwsd.model.verify import load_vectors
from kwsd.output_folder import check_own, output_folder

VECTORS_FILE = "vectors.npz"
CARD_FILE = "CARD.md"
TOLERANCE = 8
"""Stored units by which two TensorFlow Lite runtimes were seen to differ on one network."""


@dataclass(frozen=True)
class DataSource:
    """Something that the model was trained on."""

    name: str
    """What it is called."""

    licence: str
    """Licence of the data."""

    amount: str
    """How much of it, such as ``900 clips`` or ``2.5 h``."""


@dataclass(frozen=True)
class PackageContent:
    """Everything that goes into a package."""

    name: str
    """Name, by convention that of the folder."""

    version: str
    """Version of the weights."""

    phrase: str
    """What is said."""

    labels: tuple[str, ...]
    """What a score stands for."""

    network: bytes
    """The ``.tflite`` file."""

    inputs: tuple[TensorSpec, ...]
    """Its inputs."""

    outputs: tuple[TensorSpec, ...]
    """Its outputs."""

    states: tuple[StatePair, ...]
    """Which output becomes which input of the next step."""

    vectors: Mapping[str, NDArray[Any]]
    """Recorded steps: for each tensor its values ``[steps, *shape]``."""

    sensitivities: Mapping[str, Sensitivity]
    """low, medium and high."""

    timing: Timing
    """Typical times."""

    licence: str
    """Licence of the weights."""

    card: str
    """The model card, Markdown."""

    data: tuple[DataSource, ...] = ()
    """What it was trained on."""

    kind: str = "wake"
    """wake, sound or verifier."""

    frames_per_step: int = 2
    """Feature frames of one step."""

    feature_input: str = "features"
    """Input tensor of the features."""

    score_output: str = "prob"
    """Output tensor of the score."""

    smoothing_steps: int = 4
    """Steps of the moving average of the score."""

    tolerance: int = TOLERANCE
    """Largest difference from the vectors, stored units."""

    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files by name, for example a graph compiled for another runtime."""


def write_package(folder: Path, content: PackageContent, replace: bool = False) -> ModelPackage:
    """Write a package folder; the same content gives the same bytes.

    Everything is written beside the folder, read back with every check of `load_package`, and
    moved into place as a whole.

    Parameters
    ----------
    folder : Path
        Where the package belongs; folders above it are made.
    content : PackageContent
        What goes in.
    replace : bool
        A package that is there already is replaced.

    Returns
    -------
    ModelPackage
        As loaded from its final place.

    Raises
    ------
    OutputError
        The disk is full, the place cannot be written or is taken; nothing is left behind.
    ModelError
        The content contradicts itself.
    """
    check_place(folder, replace)
    files = {
        NETWORK_FILE: content.network,
        VECTORS_FILE: archive(content.vectors),
        # Names of recordings' folders may hold bytes that are no text.
        CARD_FILE: content.card.encode(errors="replace"),
        **content.extra_files,
    }
    files[DESCRIPTION_FILE] = toml_text(description(content, files)).encode(errors="replace")
    return install(folder, files)


def check_place(folder: Path, replace: bool) -> None:
    """Whether a package may be written there.

    Raises
    ------
    OutputError
        Something is there and shall not be replaced, is no package, or holds what no package does.
    """
    if os.path.lexists(folder) and not (replace and (folder / DESCRIPTION_FILE).is_file()):
        raise OutputError(
            f"{folder} exists and "
            + ("is no model package" if replace else "is not replaced unless asked")
            + "; name another folder or remove it"
        )
    check_own(folder, _own_files(folder))


def install(folder: Path, files: Mapping[str, bytes]) -> ModelPackage:
    """Put files in place of a package folder, as a whole, after every check of `load_package`.

    Parameters
    ----------
    folder : Path
        Where the package belongs; what is there is replaced.
    files : mapping of str to bytes
        Everything that the package is to hold.

    Raises
    ------
    OutputError
        The disk is full, the place cannot be written or holds what is no part of a package; what
        was there is there still.
    ModelError
        The files contradict each other.
    """
    with output_folder(folder, {*_own_files(folder), *files}) as fresh:
        _write_files(fresh, files)
        load_vectors(load_package(fresh))
    return load_package(folder)


def description(content: PackageContent, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The table of ``model.toml``."""
    tensors = [("input", t) for t in content.inputs] + [("output", t) for t in content.outputs]
    return {
        "format": FORMAT,
        "name": content.name,
        "version": content.version,
        "kind": content.kind,
        "phrase": content.phrase,
        "labels": list(content.labels),
        "feature": feature_table(),
        "stream": {
            "frames_per_step": content.frames_per_step,
            "feature_input": content.feature_input,
            "score_output": content.score_output,
            "smoothing_steps": content.smoothing_steps,
        },
        "tensor": [
            {
                "name": tensor.name,
                "role": role,
                "shape": list(tensor.shape),
                "dtype": tensor.dtype,
                "scale": tensor.scale,
                "zero_point": tensor.zero_point,
            }
            for role, tensor in tensors
        ],
        "state": [asdict(pair) for pair in content.states],
        "sensitivity": {name: asdict(level) for name, level in content.sensitivities.items()},
        "timing": asdict(content.timing),
        "licence": {"weights": content.licence},
        "data": [asdict(source) for source in content.data],
        "vectors": {
            "file": VECTORS_FILE,
            "steps": len(next(iter(content.vectors.values()))),
            "tolerance": content.tolerance,
        },
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }


def archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An ``.npz`` file without time stamps, so that its hash depends on the arrays only."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as packed:
        for name in sorted(arrays):
            single = io.BytesIO()
            np.lib.format.write_array(
                single, np.ascontiguousarray(arrays[name]), allow_pickle=False
            )
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            packed.writestr(entry, single.getvalue(), zipfile.ZIP_DEFLATED)
    return whole.getvalue()


def _own_files(folder: Path) -> set[str]:
    """What a package says that it holds; of a damaged one what every package holds."""
    own = {DESCRIPTION_FILE, NETWORK_FILE, VECTORS_FILE, CARD_FILE}
    try:
        listed = tomllib.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, RecursionError):
        return own
    return own | set(listed) if isinstance(listed, dict) else own


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        with (folder / name).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
