"""Adopting a compiled graph: its manifest from package and container, both put into the package.

Inputs and outputs are taken in the order in which the configuration named them; sizes and types of
the container must agree. Its scales are read in the Compass convention (``q = x * scale - zp``).
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kwsd.errors import MissingFileError, ModelError, OutputError
from kwsd.model.amend import amend_package
from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.model.toml_text import toml_text
from kwsd.runtime.aipu.graph import BadGraph, GraphTensor, read_graph
from kwsd.runtime.aipu.manifest import (
    FORMAT,
    GRAPH_FILE,
    INTEGERS,
    MANIFEST_FILE,
    load_manifest,
    scale_convention,
    tensor_bytes,
)
from kwsd.runtime.aipu.status import DATA_TYPES
from kwsd.runtime.failure import RuntimeFailure


@dataclass(frozen=True)
class Adoption:
    """What became of a graph."""

    package: ModelPackage
    """The package with it."""

    builder: tuple[int, int, int]
    """Version of the compiler's builder."""

    requantised: tuple[str, ...]
    """Tensors whose numbers are the compiler's and not the network's."""


def adopt_graph(
    package: ModelPackage, graph_file: Path, target: str, tolerance: int, folder: Path
) -> Adoption:
    """Put a compiled graph into a package.

    Parameters
    ----------
    package : ModelPackage
        The model it was compiled from.
    graph_file : Path
        What the compiler gave.
    target : str
        Target that it must be for.
    tolerance : int
        Largest difference from the package's vectors, stored units.
    folder : Path
        Where the package with the graph goes: its own folder or a new one.

    Raises
    ------
    MissingFileError, ModelError
        The graph cannot be read, is damaged, for another target or of another model.
    OutputError
        The package cannot be written; it is as it was.
    """
    try:
        graph = read_graph(graph_file)
        data = graph_file.read_bytes()
    except BadGraph as error:
        raise ModelError(f"{error}") from None
    except OSError as error:
        raise MissingFileError(f"{graph_file} cannot be read: {error.strerror}") from None
    if graph.target != target:
        raise ModelError(
            f"{graph_file} is for {graph.target}, {target} is wanted: set the target in the "
            "compiler's configuration"
        )
    rows, requantised = [], []
    for role, specs, tensors in (
        ("input", package.inputs, graph.inputs),
        ("output", package.outputs, graph.outputs),
    ):
        if len(specs) != len(tensors):
            raise ModelError(
                f"{graph_file} has {len(tensors)} {role}s, the package {len(specs)}: name all of "
                "them in the compiler's configuration"
            )
        for spec, tensor in zip(specs, tensors, strict=True):
            compiled = _compiled_spec(graph_file, spec, tensor)
            if compiled != spec:
                requantised.append(spec.name)
            rows.append(_row(role, compiled))
    manifest = {
        "format": FORMAT,
        "target": target,
        "sha256": hashlib.sha256(data).hexdigest(),
        "tolerance": tolerance,
        "tensor": rows,
    }
    files = {GRAPH_FILE: data, MANIFEST_FILE: toml_text(manifest).encode()}
    _check(package, files, target, graph_file)
    amended = amend_package(package.path, files, folder)
    return Adoption(amended, graph.builder, tuple(requantised))


def _check(
    package: ModelPackage, files: Mapping[str, bytes], target: str, graph_file: Path
) -> None:
    """Read graph and manifest as the runtime will, before they replace others."""
    try:
        with tempfile.TemporaryDirectory() as place:
            for name, data in files.items():
                (Path(place) / name).write_bytes(data)
            try:
                load_manifest(replace(package, path=Path(place)), target)
            except RuntimeFailure as failure:
                why = str(failure).replace(f"{place}/", "")
                raise ModelError(f"the package with {graph_file} is refused: {why}") from None
    except OSError as error:
        raise OutputError(
            f"no temporary file can be written: {error.strerror or error}; set TMPDIR"
        ) from None


def _compiled_spec(graph_file: Path, spec: TensorSpec, tensor: GraphTensor) -> TensorSpec:
    """The tensor with the numbers of the graph, or its own ones where they were kept."""
    names = {DATA_TYPES[name]: name for name in INTEGERS}
    dtype = names.get(tensor.data_type, spec.dtype if tensor.data_type == 0 else "")
    if not dtype or tensor_bytes(replace(spec, dtype=dtype)) != tensor.size:
        raise ModelError(
            f"{graph_file}: tensor {tensor.index} has {tensor.size} bytes of type "
            f"{tensor.data_type}, {spec.name} has {tensor_bytes(spec)} bytes of {spec.dtype}: "
            "compile it from this package, with inputs and outputs in its order"
        )
    unknown = not math.isfinite(tensor.scale) or tensor.scale <= 0.0
    if dtype == spec.dtype and (unknown or scale_convention(spec, tensor) != "neither"):
        return spec
    if unknown:
        raise ModelError(f"{graph_file}: {spec.name} became {dtype} without a scale")
    limits = np.iinfo(dtype)
    zero_point = min(max(-tensor.zero_point, limits.min), limits.max)
    return replace(spec, dtype=dtype, scale=1.0 / tensor.scale, zero_point=zero_point)


def _row(role: str, spec: TensorSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "role": role,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "scale": spec.scale,
        "zero_point": spec.zero_point,
    }
