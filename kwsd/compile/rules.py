"""Rules of the AIPU compiler's front end, held against a network before anybody compiles it.

The operators are those that the public parser of the Compass tools reads from TFLite files; the
limits are those that the public TVM integration checks. Neither is a list for the Z1: none is
public. What passes here may still be refused by the compiler of the SDK; what fails here will be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kwsd.compile.outline import Operator, Outline, Tensor

READABLE = frozenset(
    """
    CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED BATCH_MATMUL AVERAGE_POOL_2D MAX_POOL_2D
    RELU RELU6 PRELU LEAKY_RELU ELU HARD_SWISH LOGISTIC TANH SOFTMAX
    ADD SUB MUL DIV ABS LOG EXP SQRT
    MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD
    CONCATENATION SPLIT SPLIT_V SLICE STRIDED_SLICE PAD PADV2 MIRROR_PAD RESHAPE SQUEEZE
    EXPAND_DIMS TRANSPOSE PACK UNPACK GATHER TILE QUANTIZE DEQUANTIZE UNIDIRECTIONAL_SEQUENCE_LSTM
    """.split()
)
"""Operators that the front end reads."""

HIDDEN_STATE = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"})
CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL"})

BORDER_DTYPES = ("int8", "uint8", "int16")
LARGEST_BATCH = 32
LARGEST_ELEMENTS = 64 << 20
LARGEST_SIDE = 16384
LARGEST_KERNEL = 64
LARGEST_STRIDE = 16
LARGEST_DILATION = 40

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stands in the way."""

    reason: str
    """One word, as the runtime would say it."""

    where: str
    """Operator or tensor."""

    text: str
    """What is wrong and what to do."""


def findings(outline: Outline, states: Sequence[tuple[str, str]] = ()) -> list[Finding]:
    """Everything that the front end would refuse or that a step could not use.

    Parameters
    ----------
    outline : Outline
        The network.
    states : sequence of (str, str)
        Input and output tensor of each state pair, where they are known.

    Returns
    -------
    list of Finding
        Operators in the file's order, then tensors; empty if there is nothing.
    """
    found = list(_subgraphs(outline))
    for operator in outline.operators:
        found += operator_findings(outline, operator)
    for index, tensor in enumerate(outline.tensors):
        found += _tensor(tensor, index in outline.inputs or index in outline.outputs)
    found += _states(outline, states)
    return found


def named_states(outline: Outline) -> list[tuple[str, str]]:
    """State pairs by the naming of this project's exporter: ``s0_in`` with ``s0_out``."""
    outputs = {outline.tensors[i].name for i in outline.outputs}
    inputs = [outline.tensors[i].name for i in outline.inputs]
    pairs = [(name, name.removesuffix("_in") + "_out") for name in inputs if name.endswith("_in")]
    return [pair for pair in pairs if pair[1] in outputs]


def _subgraphs(outline: Outline) -> Iterator[Finding]:
    if outline.subgraphs > 1:
        yield Finding(
            "unsupported-operator",
            "network",
            f"{outline.subgraphs} graphs, the compiler reads the first: control flow and hidden "
            "state must go; states become inputs and outputs",
        )


def operator_findings(outline: Outline, operator: Operator) -> list[Finding]:
    """What the front end would refuse about one operator."""
    return list(_operator(outline, operator))


def _operator(outline: Outline, operator: Operator) -> Iterator[Finding]:
    where = f"operator {operator.index} {operator.name}"
    if operator.name in HIDDEN_STATE:
        yield Finding(
            "unsupported-operator",
            where,
            "hidden state is not read: make each state an input and an output",
        )
    elif operator.name in CONTROL_FLOW:
        yield Finding("unsupported-operator", where, "control flow is not read: unroll it")
    elif operator.name not in READABLE:
        yield Finding(
            "unsupported-operator",
            where,
            "not read by the compiler's front end: leave it to the CPU (kwsmodel cut)",
        )
    if operator.name in _CONVOLUTIONS:
        yield from _convolution(outline, operator, where)
    if operator.name == "CONCATENATION":
        yield from _concatenation(outline, operator, where)


def _convolution(outline: Outline, operator: Operator, where: str) -> Iterator[Finding]:
    kernel: tuple[int, ...] = ()
    if len(operator.inputs) > 1 and operator.inputs[1] >= 0:
        kernel = outline.tensors[operator.inputs[1]].shape[1:3]
    limits = [("kernel", max(kernel, default=1), LARGEST_KERNEL)]
    if operator.steps is not None:
        limits.append(("stride", max(operator.steps[:2]), LARGEST_STRIDE))
        limits.append(("dilation", max(operator.steps[2:]), LARGEST_DILATION))
    for index in (*operator.inputs[:1], *operator.outputs):
        limits.append(("side", max(outline.tensors[index].shape, default=1), LARGEST_SIDE))
    for name, value, largest in limits:
        if value > largest:
            yield Finding("unsupported-operator", where, f"{name} {value}, allowed {largest}")


def _concatenation(outline: Outline, operator: Operator, where: str) -> Iterator[Finding]:
    joined = [outline.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
    if len({(t.scales, t.zero_points) for t in joined}) > 1:
        yield Finding(
            "scale-mismatch",
            where,
            "its inputs and output have different scales: give them one when quantising, or the "
            "compiler re-scales (unify_scales_for_concat)",
        )


def _tensor(tensor: Tensor, border: bool) -> Iterator[Finding]:
    where = f"tensor {tensor.name or '(no name)'}"
    if any(size < 0 for size in tensor.shape):
        yield Finding("dynamic-shape", where, f"shape {list(tensor.shape)}: export static shapes")
    elif math.prod(tensor.shape) > LARGEST_ELEMENTS:
        yield Finding(
            "too-large", where, f"{math.prod(tensor.shape)} elements, allowed {LARGEST_ELEMENTS}"
        )
    if tensor.variable:
        yield Finding(
            "unsupported-operator",
            where,
            "keeps its content between runs: make it an input and an output",
        )
    if not border:
        return
    if tensor.shape and tensor.shape[0] > LARGEST_BATCH:
        yield Finding("too-large", where, f"batch {tensor.shape[0]}, allowed {LARGEST_BATCH}")
    if tensor.dtype not in BORDER_DTYPES:
        yield Finding(
            "not-quantised",
            where,
            f"{tensor.dtype} at the border, allowed {', '.join(BORDER_DTYPES)}: export with int8 "
            "inputs and outputs",
        )
    elif len(tensor.scales) != 1 or tensor.scales[0] <= 0:
        yield Finding("not-quantised", where, "no scale: export with quantised inputs and outputs")


def _states(outline: Outline, states: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    by_name = {t.name: t for t in outline.tensors}
    inputs = {outline.tensors[i].name for i in outline.inputs}
    outputs = {outline.tensors[i].name for i in outline.outputs}
    for name_in, name_out in states:
        where = f"state {name_in}, {name_out}"
        if name_in not in inputs or name_out not in outputs:
            yield Finding("state-mismatch", where, "not an input and an output of the network")
            continue
        a, b = by_name[name_in], by_name[name_out]
        for what, left, right in (
            ("shape", list(a.shape), list(b.shape)),
            ("type", a.dtype, b.dtype),
            ("scale", list(a.scales), list(b.scales)),
            ("zero point", list(a.zero_points), list(b.zero_points)),
        ):
            if left != right:
                yield Finding(
                    "state-mismatch",
                    where,
                    f"{what} {left} goes in and {right} comes out: a state must go round unchanged",
                )
