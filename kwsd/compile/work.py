"""Work of an operator: what convolutions and fully connected layers multiply and add."""

from __future__ import annotations

from math import prod

from kwsd.compile.outline import Operator, Outline


def values(shape: tuple[int, ...]) -> int:
    """Number of values of a tensor; an open size counts as 1."""
    return prod(max(size, 1) for size in shape)


def multiplies(outline: Outline, operator: Operator) -> int:
    """Multiply-accumulates of an operator; 0 of those that only add, compare or move."""
    if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        return 0
    weights = outline.tensors[operator.inputs[1]].shape
    if operator.name == "TRANSPOSE_CONV":
        return values(outline.tensors[operator.inputs[2]].shape) * prod(weights[:3])
    out = values(outline.tensors[operator.outputs[0]].shape)
    return out * prod(weights[1:3] if operator.name == "DEPTHWISE_CONV_2D" else weights[1:])
