"""Partition: which operators go into which part, so that parts can run one after the other.

Every operator belongs to the AIPU or to the CPU. Its depth is how often the side changes on the way
from the network's inputs to it, at most. Operators of one side and one depth form a part: a path
that leaves such a part goes to a greater depth and cannot come back, so parts are convex and can be
run in the order of their depths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kwsd.compile.outline import Operator, Outline
from kwsd.compile.rules import BORDER_DTYPES, operator_findings
from kwsd.compile.work import multiplies

BODY, REST = "body", "cpu"
LEAST_MULTIPLIES = 20_000
"""A body with fewer multiply-accumulates is not worth its border."""


@dataclass(frozen=True)
class Part:
    """Operators that run together."""

    kind: str
    """``body`` for the AIPU, ``cpu``."""

    operators: tuple[int, ...]
    """Their places in the network, rising."""

    multiplies: int
    """Multiply-accumulates of its convolutions and fully connected layers."""


@dataclass(frozen=True)
class Partition:
    """A whole network in parts."""

    parts: tuple[Part, ...]
    """In the order in which they run."""

    reasons: dict[int, str]
    """Why an operator stays on the CPU, by its place."""


def partition(outline: Outline, least_multiplies: int = LEAST_MULTIPLIES) -> Partition:
    """Divide a network.

    Parameters
    ----------
    outline : Outline
        One static graph without hidden state; see `kwsd.compile.rules` for what the AIPU reads.
    least_multiplies : int
        Bodies with fewer go to the CPU.
    """
    reasons = {}
    for operator in outline.operators:
        why = _why_not(outline, operator)
        if why:
            reasons[operator.index] = why
    while True:
        parts = _parts(outline, lambda index: BODY if index not in reasons else REST)
        small = [p for p in parts if p.kind == BODY and p.multiplies < least_multiplies]
        if not small:
            return Partition(tuple(parts), reasons)
        # One by one: without the smallest body the others may grow together.
        smallest = min(small, key=lambda part: (part.multiplies, part.operators))
        for index in smallest.operators:
            reasons[index] = (
                f"its body would have {smallest.multiplies} multiply-accumulates, "
                f"worth a border are {least_multiplies}"
            )


def _why_not(outline: Outline, operator: Operator) -> str:
    found = operator_findings(outline, operator)
    if found:
        return found[0].text
    for index in operator.outputs:
        tensor = outline.tensors[index]
        if tensor.dtype not in BORDER_DTYPES:
            return f"gives {tensor.dtype}, the AIPU is given {', '.join(BORDER_DTYPES)} only"
    computed = {index for other in outline.operators for index in other.outputs}
    for index in operator.inputs:
        tensor = outline.tensors[max(index, 0)]
        fed = index in computed or index in outline.inputs
        if index >= 0 and fed and tensor.dtype not in BORDER_DTYPES:
            return f"takes {tensor.dtype}, the AIPU is given {', '.join(BORDER_DTYPES)} only"
    return ""


def _parts(outline: Outline, side: Callable[[int], str]) -> list[Part]:
    maker: dict[int, int] = {}
    depth: dict[int, int] = {}
    groups: dict[tuple[int, str], list[int]] = {}
    # TFLite files list operators in an order in which they can run.
    for operator in outline.operators:
        here = side(operator.index)
        depths = [
            depth[maker[index]] + (side(maker[index]) != here)
            for index in operator.inputs
            if index in maker
        ]
        depth[operator.index] = max(depths, default=0)
        for index in operator.outputs:
            maker[index] = operator.index
        groups.setdefault((depth[operator.index], here), []).append(operator.index)
    return [
        Part(
            kind,
            tuple(members),
            sum(multiplies(outline, outline.operators[index]) for index in members),
        )
        for (_, kind), members in sorted(groups.items())
    ]
