"""What an outline leaves out and a converter needs: constants and options of the operators.

Field numbers are those of the public TFLite schema, version 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.compile.flatbuffer import BadFlatbuffer, Table, root
from kwsd.compile.outline import Outline, parse_outline, read_tflite

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

# Place of the fused activation in the options of an operator.
_ACTIVATION = {
    "ADD": 0,
    "CONCATENATION": 1,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 4,
    "FULLY_CONNECTED": 0,
}


@dataclass(frozen=True, slots=True)
class Network:
    """An outline with its contents."""

    outline: Outline
    """Operators and tensors."""

    constants: dict[int, NDArray[Any]]
    """Tensors with content, by index, in their own shape and type."""

    options: tuple[Table | None, ...]
    """Options table of each operator."""

    def option(self, operator: int, field: int, layout: str = "b", default: int = 0) -> int:
        """One number of an operator's options."""
        table = self.options[operator]
        return default if table is None else table.scalar(field, layout, default)

    def activation(self, operator: int) -> str:
        """Fused activation of an operator; ``NONE`` for those that know none."""
        field = _ACTIVATION.get(self.outline.operators[operator].name)
        number = 0 if field is None else self.option(operator, field)
        return ACTIVATIONS[number] if 0 <= number < len(ACTIVATIONS) else f"activation {number}"


def read_network(path: Path) -> Network:
    """The network in a file; errors are those of `read_tflite`."""
    return read_tflite(path, parse_network)


def parse_network(data: bytes) -> Network:
    """The network in a file's content.

    Parameters
    ----------
    data : bytes
        Content of a ``.tflite`` file.

    Raises
    ------
    BadFlatbuffer
        It is no complete TFLite network.
    """
    outline = parse_outline(data)
    model = root(data, b"TFL3")
    graph = model.tables(2)[0]
    buffers = model.tables(4)
    constants = {}
    for index, table in enumerate(graph.tables(0)):
        place = table.scalar(2, "I")
        if place >= len(buffers):
            raise BadFlatbuffer(f"tensor {index} has buffer {place} of {len(buffers)}")
        content = bytes(int(byte) for byte in buffers[place].numbers(0, "B"))
        if content:
            tensor = outline.tensors[index]
            constants[index] = _array(content, tensor.dtype, tensor.shape, tensor.name)
    return Network(outline, constants, tuple(table.table(4) for table in graph.tables(3)))


def _array(content: bytes, dtype: str, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    try:
        return np.frombuffer(content, np.dtype(dtype)).reshape(shape)
    except (TypeError, ValueError):
        raise BadFlatbuffer(
            f"tensor {name} has {len(content)} bytes for {dtype} {list(shape)}"
        ) from None
