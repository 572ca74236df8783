"""Write a cut: parts, compiler configurations of the bodies, recorded steps, manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.compile.configuration import (
    COMPASS_FILE,
    NETWORK,
    SDK2021_FILE,
    check_names,
    compass_configuration,
    plain_name,
    sdk2021_configuration,
)
from kwsd.compile.outline import Outline
from kwsd.compile.rules import named_states
from kwsd.cut.emit import Emitter, border
from kwsd.cut.manifest import (
    MANIFEST,
    CutManifest,
    CutPart,
    CutTensor,
    read_manifest,
    sha256,
    write_manifest,
)
from kwsd.cut.partition import BODY, Partition
from kwsd.errors import KwsdError, ModelError, OutputError
from kwsd.model.package import TensorSpec
from kwsd.model.write import archive
from kwsd.output_folder import output_folder
from kwsd.runtime.litert import LiteRtSession

VECTORS = "vectors.npz"
STEPS = 8
Vectors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _Body:
    """What the compiler is told of a body."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def feature_input(self) -> str:
        return self.inputs[0].name


def tensor_names(outline: Outline) -> tuple[str, ...]:
    """The network's own names, made different where they are missing or the same.

    Tensors inside, which may become borders of parts, get names that a configuration can hold:
    converters join those of operators that became one by ``;``.
    """
    taken: set[str] = set()
    ends = {*outline.inputs, *outline.outputs}
    names = []
    for index, tensor in enumerate(outline.tensors):
        name = tensor.name or f"tensor{index}"
        if index not in ends:
            name = plain_name(name)
        while name in taken:
            name = f"{name}_{index}"
        taken.add(name)
        names.append(name)
    return tuple(names)


def record(network: bytes, where: str, fed: Mapping[str, NDArray[Any]] | None) -> Vectors:
    """Steps of the uncut network.

    Parameters
    ----------
    network : bytes
        Its file.
    where : str
        Its name, for messages.
    fed : mapping of ndarray, optional
        Inputs ``[steps, *shape]``; random integers otherwise.

    Returns
    -------
    dict of ndarray
        Every input and output ``[steps, *shape]``.
    """
    session = LiteRtSession(network, where, delegates=False)
    rng = np.random.default_rng(0)
    steps = []
    count = STEPS if fed is None else min(STEPS, *map(len, fed.values()))
    try:
        for step in range(count):
            inputs = {}
            for spec in session.inputs:
                if fed is not None:
                    inputs[spec.name] = fed[spec.name][step]
                    continue
                kind = np.dtype(spec.dtype)
                if kind.kind not in "iu":
                    inputs[spec.name] = rng.standard_normal(spec.shape).astype(kind)
                    continue
                limits = np.iinfo(kind)
                inputs[spec.name] = rng.integers(
                    limits.min, limits.max, spec.shape, kind, endpoint=True
                )
            steps.append({**inputs, **session.step(inputs)})
    finally:
        session.close()
    return {name: np.stack([step[name] for step in steps]) for name in steps[0]}


def write_cut(
    folder: Path,
    name: str,
    data: bytes,
    outline: Outline,
    made: Partition,
    target: str,
    fed: Mapping[str, NDArray[Any]] | None,
) -> CutManifest:
    """Write a folder; complete or not at all.

    Parameters
    ----------
    folder : Path
        Must not be there, or be an earlier cut and hold nothing else: a compiled graph of it would
        be lost.
    name : str
        Of the network's file.
    data, outline : bytes, Outline
        The network.
    made : Partition
        Its parts.
    target : str
        Of the AIPU, such as ``Z1_0701``.
    fed : mapping of ndarray, optional
        Inputs of recorded steps, see `record`.

    Raises
    ------
    OutputError
        The folder cannot be written or holds something else; it is as it was.
    ModelError
        The interpreter does not run the network.
    """
    with output_folder(folder, _earlier(folder)) as fresh:
        manifest = _fill(fresh, name, data, outline, made, target, fed)
    return manifest


def _earlier(folder: Path) -> set[str]:
    """Files of an earlier cut; none of anything else."""
    if not (folder / MANIFEST).is_file():
        return set()
    try:
        earlier = read_manifest(folder)
    except KwsdError as error:
        raise OutputError(f"{folder} is there and is no cut: {error}") from None
    own = {MANIFEST, earlier.vectors}
    for part in earlier.parts:
        beside = Path(part.file).parent
        own |= {part.file, *((beside / name).as_posix() for name in (COMPASS_FILE, SDK2021_FILE))}
    return own


def _fill(
    folder: Path,
    name: str,
    data: bytes,
    outline: Outline,
    made: Partition,
    target: str,
    fed: Mapping[str, NDArray[Any]] | None,
) -> CutManifest:
    LiteRtSession(data, name, delegates=False).close()  # what it refuses the emitter believes
    names = tensor_names(outline)
    emitter = Emitter(data, names)
    if names != tuple(tensor.name for tensor in outline.tensors):
        everything = tuple(range(len(outline.operators)))
        data = emitter.part(everything, border(outline, everything))
    parts: list[CutPart] = []
    borders: set[int] = {*outline.inputs, *outline.outputs}
    for number, part in enumerate(made.parts, 1):
        ends = border(outline, part.operators)
        borders.update((*ends.inputs, *ends.outputs))
        label = f"{number}-{part.kind}"
        file = f"{label}/{NETWORK}"
        blob = emitter.part(part.operators, ends)
        (folder / label).mkdir()
        (folder / file).write_bytes(blob)
        if part.kind == BODY:
            _configure(folder / label, label, outline, names, (ends.inputs, ends.outputs), target)
        parts.append(
            CutPart(
                label,
                part.kind,
                file,
                sha256(blob),
                tuple(names[i] for i in ends.inputs),
                tuple(names[i] for i in ends.outputs),
                tuple(_said(outline, made, index) for index in part.operators),
                part.multiplies,
            )
        )
    vectors = archive(record(data, name, fed))
    (folder / VECTORS).write_bytes(vectors)
    manifest = CutManifest(
        network=name,
        network_sha256=sha256(data),
        target=target,
        inputs=tuple(names[i] for i in outline.inputs),
        outputs=tuple(names[i] for i in outline.outputs),
        states=tuple(_round_states(outline)),
        parts=tuple(parts),
        tensors={names[i]: _tensor(outline, i) for i in sorted(borders)},
        vectors=VECTORS,
        vectors_sha256=sha256(vectors),
    )
    write_manifest(folder, manifest)
    return manifest


def _round_states(outline: Outline) -> list[tuple[str, str]]:
    """Pairs by name whose ends are alike; others are left to the user."""
    by_name = {tensor.name: tensor for tensor in outline.tensors}
    pairs = []
    for first, last in named_states(outline):
        a, b = by_name[first], by_name[last]
        if (a.shape, a.dtype, a.scales, a.zero_points) == (
            *(b.shape, b.dtype, b.scales, b.zero_points),
        ):
            pairs.append((first, last))
    return pairs


def _said(outline: Outline, made: Partition, index: int) -> str:
    why = made.reasons.get(index)
    name = f"{index} {outline.operators[index].name}"
    return f"{name}: {why}" if why else name


def _tensor(outline: Outline, index: int) -> CutTensor:
    tensor = outline.tensors[index]
    return CutTensor(tensor.shape, tensor.dtype, tensor.scales, tensor.zero_points)


def _configure(
    folder: Path,
    label: str,
    outline: Outline,
    names: Sequence[str],
    ends: tuple[tuple[int, ...], tuple[int, ...]],
    target: str,
) -> None:
    """Both generations of the compiler's configuration."""
    specs = []
    for indices in ends:
        some = []
        for index in indices:
            tensor = outline.tensors[index]
            if len(tensor.scales) != 1:
                raise ModelError(
                    f"tensor {names[index]} at the border of {label} has {len(tensor.scales)} "
                    "scales, the AIPU needs one: quantise activations per tensor"
                )
            some.append(
                TensorSpec(
                    *(names[index], tensor.shape, tensor.dtype),
                    *(tensor.scales[0], tensor.zero_points[0]),
                )
            )
        specs.append(tuple(some))
    body = _Body(label, specs[0], specs[1])
    check_names(label, (*body.inputs, *body.outputs))
    compass = compass_configuration(body, target, calibrated=False)
    (folder / COMPASS_FILE).write_text(compass)
    sdk2021 = sdk2021_configuration(body, target, calibrated=False)
    (folder / SDK2021_FILE).write_text(sdk2021)
