"""A layer table as NCNN files with random weights, in float32 or int8."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from kwsd.bench.layers import Layer, Table

MAGIC = 7767517
"""First line of every text parameter file."""

SAME = -233
"""NCNN's padding that keeps the size at stride 1, more of it at the end."""


@dataclass(frozen=True)
class NcnnFiles:
    """The two files of a network."""

    param: str
    """Text: layers."""

    weights: bytes
    """Binary: weights in the order of the layers."""

    inputs: dict[str, tuple[int, int, int]]
    """Blobs to fill: channels, height, width."""

    outputs: tuple[str, ...]
    """Blobs to read."""


class _Writer:
    def __init__(self, table: Table, int8: bool, seed: int) -> None:
        self._table = table
        self._int8 = int8
        self._rng = np.random.default_rng(seed)
        self._lines: list[str] = []
        self._weights = io.BytesIO()
        self._blobs = 0
        self._free: dict[int, list[str]] = {}
        readers = [source for layer in table.layers for source in layer.sources]
        self._readers = [readers.count(index) for index in range(len(table.layers))]

    def _line(self, kind: str, name: str, into: list[str], out: list[str], rest: str) -> None:
        self._blobs += len(out)
        words = [kind, name, str(len(into)), str(len(out)), *into, *out, rest]
        self._lines.append(" ".join(word for word in words if word))

    def _filter(self, channels: int, taps: int, groups: int = 0) -> str:
        """Append weights and bias; gives the parameters that announce them."""
        loudness = np.float32(1.0 / np.sqrt(taps))
        weights = self._rng.standard_normal(channels * taps, np.float32) * loudness
        self._weights.write(np.uint32(0).tobytes() + weights.tobytes())
        self._weights.write(np.zeros(channels, np.float32).tobytes())
        if not self._int8:
            return ""
        scales = np.full(groups or channels, 127.0 / (4.0 * loudness), np.float32)
        self._weights.write(scales.tobytes() + np.float32(127.0 / 4.0).tobytes())
        return " 8=1"

    def _layer(self, index: int, layer: Layer) -> None:
        channels = layer.size[0]
        name, out = f"{layer.kind}{index}", f"b{index}"
        into = [self._free[source].pop() for source in layer.sources]
        window = f"1={layer.kernel} 3={layer.stride} 4={SAME}"
        active = " 9=1" if layer.relu else ""
        if layer.kind == "input":
            self._line("Input", name, into, [out], "")
        elif layer.kind == "conv":
            taps = self._table.layers[layer.sources[0]].size[0] * layer.kernel**2
            rest = f"0={channels} {window} 5=1 6={channels * taps}{active}"
            self._line("Convolution", name, into, [out], rest + self._filter(channels, taps))
        elif layer.kind == "depthwise":
            taps = layer.kernel**2
            rest = f"0={channels} {window} 5=1 6={channels * taps} 7={channels}{active}"
            rest += self._filter(channels, taps, groups=channels)
            self._line("ConvolutionDepthWise", name, into, [out], rest)
        elif layer.kind == "dense":
            taps = self._table.layers[layer.sources[0]].size[0]
            rest = f"0={channels} 1=1 2={channels * taps}{active}"
            self._line("InnerProduct", name, into, [out], rest + self._filter(channels, taps))
        elif layer.kind == "max_pool":
            rest = f"0=0 1={layer.kernel} 2={layer.stride} 5=2"
            self._line("Pooling", name, into, [out], rest)
        elif layer.kind == "global_pool":
            self._line("Pooling", name, into, [out], "0=1 4=1")
        elif layer.kind == "upsample":
            self._line("Interp", name, into, [out], "0=1 1=2.0 2=2.0")
        elif layer.kind == "concat":
            self._line("Concat", name, into, [out], "0=0")
        else:
            self._line("BinaryOp", name, into, [f"{out}s" if layer.relu else out], "0=0")
            if layer.relu:
                self._line("ReLU", f"relu{index}", [f"{out}s"], [out], "")
        self._free[index] = [out]
        if self._readers[index] > 1:
            copies = [f"{out}_{copy}" for copy in range(self._readers[index])]
            self._line("Split", f"split{index}", [out], copies, "")
            self._free[index] = copies

    def write(self) -> NcnnFiles:
        for index, layer in enumerate(self._table.layers):
            self._layer(index, layer)
        head = f"{MAGIC}\n{len(self._lines)} {self._blobs}\n"
        inputs = {
            f"b{index}": layer.size
            for index, layer in enumerate(self._table.layers)
            if layer.kind == "input"
        }
        outputs = tuple(f"b{index}" for index in self._table.outputs)
        return NcnnFiles(
            head + "\n".join(self._lines) + "\n", self._weights.getvalue(), inputs, outputs
        )


def write_random_ncnn(table: Table, int8: bool, seed: int = 0) -> NcnnFiles:
    """Network with the shapes of a table and random weights.

    Parameters
    ----------
    table : Table
        Layers.
    int8 : bool
        Give the scales with which NCNN computes convolutions in int8.
    seed : int
        Of the weights.
    """
    return _Writer(table, int8, seed).write()
