"""Manifest of a compiled graph: ``model.aipu.toml`` beside ``model.aipu.bin`` in a package.

The numbers of the manifest count, in TFLite's convention, because what a compiler writes into a
graph differs between its versions. Everything is checked before the device is touched::

    format = 1
    target = "Z1_0701"
    sha256 = "…"            # of model.aipu.bin
    tolerance = 2           # largest difference from the package's vectors, stored units
    [[tensor]]              # the graph's order, inputs and outputs each
    name = "features"
    role = "input"
    shape = [1, 2, 1, 40]
    dtype = "int8"
    scale = 0.02
    zero_point = 0
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kwsd.digest import sha256_hex
from kwsd.errors import KwsdError, ModelError
from kwsd.model.fields import Fields
from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.runtime.aipu.graph import BadGraph, Graph, GraphTensor, read_graph
from kwsd.runtime.aipu.status import DATA_TYPES
from kwsd.runtime.failure import RuntimeFailure

GRAPH_FILE = "model.aipu.bin"
MANIFEST_FILE = "model.aipu.toml"
FORMAT = 1
TARGET = "Z1_0701"
"""The R329."""

INTEGERS = ("int8", "uint8", "int16")


@dataclass(frozen=True)
class Manifest:
    """A compiled graph as it was agreed on."""

    path: Path
    """The graph file."""

    tolerance: int
    """Largest difference from the package's vectors in stored units."""

    inputs: tuple[TensorSpec, ...]
    """In the graph's order, TFLite's convention."""

    outputs: tuple[TensorSpec, ...]
    """In the graph's order, TFLite's convention."""


def tensor_bytes(spec: TensorSpec) -> int:
    """Size of a tensor."""
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


def load_manifest(package: ModelPackage, target: str = TARGET) -> Manifest:
    """Read the manifest and hold it against package and graph file.

    Raises
    ------
    RuntimeFailure
        ``no-graph``, ``not-quantised``, ``unsupported-operator`` or another word of
        `kwsd.compile.rules`, ``manifest-mismatch``, ``bad-graph`` or
        ``other-target``.
    """
    graph_file, file = package.path / GRAPH_FILE, package.path / MANIFEST_FILE
    for spec in (*package.inputs, *package.outputs):
        if spec.dtype not in INTEGERS:
            raise RuntimeFailure(
                "not-quantised",
                f"{spec.name} of model {package.name} is {spec.dtype}, the AIPU takes "
                f"{', '.join(INTEGERS)}: export the model as int8",
            )
    if not graph_file.is_file():
        raise _no_graph(package, target)
    try:
        manifest, sha256, said_target = _read(file, graph_file)
    except (OSError, ModelError, ValueError, RecursionError) as error:
        raise RuntimeFailure("manifest-mismatch", f"{file}: {error}") from None
    try:
        graph = read_graph(graph_file)
        found = sha256_hex(graph_file.read_bytes())
    except BadGraph as error:
        raise RuntimeFailure("bad-graph", str(error)) from None
    except OSError as error:
        raise RuntimeFailure("bad-graph", f"{graph_file}: {error.strerror}") from None
    for where, value in (("the graph", graph.target), (MANIFEST_FILE, said_target)):
        if value != target:
            raise RuntimeFailure(
                "other-target", f"{graph_file}: {where} is for {value}, this device is {target}"
            )
    if found != sha256:
        raise RuntimeFailure(
            "manifest-mismatch",
            f"{graph_file} has sha256 {found[:12]}…, {MANIFEST_FILE} says {sha256[:12]}…: compile "
            "again or restore the file",
        )
    _compare_package(file, manifest, package)
    _compare_graph(file, manifest, graph)
    return manifest


def _no_graph(package: ModelPackage, target: str) -> RuntimeFailure:
    """Why there is none: nobody compiled it, or nobody could."""
    # Imported here: only a board with an AIPU and a package without a graph come this far.
    from kwsd.compile.outline import read_outline
    from kwsd.compile.rules import findings

    try:
        found = findings(read_outline(package.network))
    except KwsdError:
        found = []
    if found:
        first = found[0]
        return RuntimeFailure(
            first.reason,
            f"model {package.name} cannot be compiled for {target}: {first.where}: {first.text}; "
            f"{len(found)} findings, kwsmodel check {package.path} lists them",
        )
    return RuntimeFailure(
        "no-graph",
        f"package {package.name} has no {GRAPH_FILE}: kwsmodel compile {package.name} "
        f"--target {target}",
    )


def _read(file: Path, graph_file: Path) -> tuple[Manifest, str, str]:
    root = Fields(MANIFEST_FILE, "", tomllib.loads(file.read_text(encoding="utf-8")))
    root.integer("format", FORMAT, FORMAT)
    specs: dict[str, list[TensorSpec]] = {"input": [], "output": []}
    for row in root.rows("tensor"):
        specs[row.choice("role", ("input", "output"))].append(
            TensorSpec(
                row.text("name"),
                row.shape("shape"),
                row.choice("dtype", INTEGERS),
                row.number("scale", 1e-12, 1e6),
                row.integer("zero_point", -(1 << 15), 1 << 15),
            )
        )
        row.finish()
    manifest = Manifest(
        graph_file,
        root.integer("tolerance", 0, 127),
        tuple(specs["input"]),
        tuple(specs["output"]),
    )
    sha256, target = root.text("sha256"), root.text("target")
    root.finish()
    return manifest, sha256, target


def _compare_package(file: Path, manifest: Manifest, package: ModelPackage) -> None:
    """The same names and shapes; types and scales may differ, the session converts."""
    for role, ours, theirs in (
        ("inputs", manifest.inputs, package.inputs),
        ("outputs", manifest.outputs, package.outputs),
    ):
        have = sorted((spec.name, spec.shape) for spec in ours)
        want = sorted((spec.name, spec.shape) for spec in theirs)
        if have != want:
            raise RuntimeFailure("manifest-mismatch", f"{file}: {role} {have}, model.toml {want}")


def _compare_graph(file: Path, manifest: Manifest, graph: Graph) -> None:
    """Number, size and type of the tensors in the container."""
    for role, specs, tensors in (
        ("inputs", manifest.inputs, graph.inputs),
        ("outputs", manifest.outputs, graph.outputs),
    ):
        if len(specs) != len(tensors):
            raise RuntimeFailure(
                "manifest-mismatch",
                f"{file}: {len(specs)} {role}, the graph has {len(tensors)}",
            )
        for spec, tensor in zip(specs, tensors, strict=True):
            if tensor.size != tensor_bytes(spec) or tensor.data_type not in (
                0,
                DATA_TYPES[spec.dtype],
            ):
                raise RuntimeFailure(
                    "manifest-mismatch",
                    f"{file}: {spec.name} has {tensor_bytes(spec)} bytes of {spec.dtype}, the "
                    f"graph has {tensor.size} bytes of type {tensor.data_type}",
                )


def scale_convention(spec: TensorSpec, tensor: GraphTensor) -> str:
    """How the graph writes a scale: as TFLite does, its inverse (Compass), or neither.

    Only told, never a reason to refuse: the proof is the vectors.
    """
    for name, value in (("tflite", spec.scale), ("inverse", 1.0 / spec.scale)):
        if abs(tensor.scale - value) <= 0.01 * value:
            return name
    return "neither"
