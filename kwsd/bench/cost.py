"""Cost of one inference from the graph alone: multiply-accumulates, bytes moved, and the roofline.

The roofline (Williams, Waterman and Patterson, CACM 2009) bounds the rate of inferences twice: by
the multiply-accumulates that the hardware can do in a second, and by the bytes that it can move.
"""

from __future__ import annotations

from dataclasses import dataclass

from kwsd.compile.outline import Outline
from kwsd.compile.work import multiplies, values

_BYTES = {
    "float32": 4,
    "int32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
    "int64": 8,
    "float64": 8,
}
"""Of one value; every other type counts as one byte."""


@dataclass(frozen=True)
class GraphCost:
    """Of one inference."""

    multiplies: int
    """Multiply-accumulates of convolutions and fully connected layers."""

    bytes_moved: int
    """Every operator reads its inputs and weights and writes its outputs once: no cache helps, and
    nothing is read twice."""


@dataclass(frozen=True)
class Roofline:
    """What a piece of hardware can do at most."""

    name: str
    """Whose limits these are."""

    peak_gmacs: float
    """Multiply-accumulates, in 10^9 a second."""

    bandwidth_gbps: float | None
    """Bytes, in 10^9 a second; None where nobody has said."""

    def by_operations(self, cost: GraphCost) -> float:
        """Inferences a second if only operations counted."""
        return self.peak_gmacs * 1e9 / max(cost.multiplies, 1)

    def by_bandwidth(self, cost: GraphCost) -> float | None:
        """Inferences a second if only bytes counted."""
        if self.bandwidth_gbps is None:
            return None
        return self.bandwidth_gbps * 1e9 / max(cost.bytes_moved, 1)

    def limit(self, cost: GraphCost) -> float:
        """The lower one of both."""
        by_bandwidth = self.by_bandwidth(cost)
        by_operations = self.by_operations(cost)
        return by_operations if by_bandwidth is None else min(by_operations, by_bandwidth)


def graph_cost(outline: Outline) -> GraphCost:
    """Count a graph.

    Parameters
    ----------
    outline : Outline
        Of a TensorFlow Lite network; open sizes count as 1.
    """
    total = moved = 0
    for operator in outline.operators:
        total += multiplies(outline, operator)
        for index in (*operator.inputs, *operator.outputs):
            if index >= 0:
                tensor = outline.tensors[index]
                moved += values(tensor.shape) * _BYTES.get(tensor.dtype, 1)
    return GraphCost(total, moved)
