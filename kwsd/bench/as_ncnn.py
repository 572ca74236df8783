"""A layer table as NCNN files with random weights, computed in float32 or int8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kwsd.bench.layers import Layer, Size, Table
from kwsd.export.ncnn_graph import NcnnFiles, NcnnGraph, half, single

SAME = -233
"""NCNN's padding that keeps the size at stride 1, more of it at the end."""

LOUDEST = 4.0
"""Activations up to this many times their deviation fit into int8."""


@dataclass(frozen=True)
class NcnnTable:
    """A network's files and its ends."""

    files: NcnnFiles
    """Layers and weights."""

    inputs: dict[str, Size]
    """Blobs to fill: channels, height, width."""

    outputs: tuple[str, ...]
    """Blobs to read."""


class _Writer:
    def __init__(self, table: Table, int8: bool, seed: int) -> None:
        self._table = table
        self._int8 = int8
        self._rng = np.random.default_rng(seed)
        self._graph = NcnnGraph()

    def _filter(self, channels: int, taps: int) -> tuple[str, bytes]:
        """Parameters that announce weights and bias, and their bytes."""
        loudness = np.float32(1.0 / np.sqrt(taps))
        weights = self._rng.standard_normal(channels * taps, np.float32) * loudness
        data = half(weights) + single(np.zeros(channels, np.float32))
        if not self._int8:
            return "", data
        scales = np.full(channels, 127.0 / (LOUDEST * loudness), np.float32)
        return " 8=1", data + single(scales) + single(np.array([127.0 / LOUDEST]))

    def _layer(self, index: int, layer: Layer) -> str:
        channels = layer.size[0]
        into = [f"b{source}" for source in layer.sources]
        window = f"1={layer.kernel} 3={layer.stride} 4={SAME}"
        active = " 9=1" if layer.relu else ""
        sources = [self._table.layers[source].size[0] for source in layer.sources]
        weights = b""
        if layer.kind == "input":
            kind, rest = "Input", ""
        elif layer.kind == "conv":
            taps = sources[0] * layer.kernel**2
            announced, weights = self._filter(channels, taps)
            kind = "Convolution"
            rest = f"0={channels} {window} 5=1 6={channels * taps}{active}{announced}"
        elif layer.kind == "depthwise":
            taps = layer.kernel**2
            announced, weights = self._filter(channels, taps)
            kind = "ConvolutionDepthWise"
            rest = f"0={channels} {window} 5=1 6={channels * taps} 7={channels}{active}{announced}"
        elif layer.kind == "dense":
            announced, weights = self._filter(channels, sources[0])
            kind = "InnerProduct"
            rest = f"0={channels} 1=1 2={channels * sources[0]}{active}{announced}"
        elif layer.kind == "max_pool":
            kind, rest = "Pooling", f"0=0 1={layer.kernel} 2={layer.stride} 5=2"
        elif layer.kind == "global_pool":
            kind, rest = "Pooling", "0=1 4=1"
        elif layer.kind == "upsample":
            kind, rest = "Interp", "0=1 1=2.0 2=2.0"
        elif layer.kind == "concat":
            kind, rest = "Concat", "0=0"
        elif layer.relu:
            into, kind, rest = [self._graph.add("BinaryOp", into, "0=0")], "ReLU", ""
        else:
            kind, rest = "BinaryOp", "0=0"
        return self._graph.add(kind, into, rest, weights, blob=f"b{index}")

    def write(self) -> NcnnTable:
        layers = self._table.layers
        for index, layer in enumerate(layers):
            self._layer(index, layer)
        inputs = {f"b{i}": layer.size for i, layer in enumerate(layers) if layer.kind == "input"}
        outputs = tuple(f"b{index}" for index in self._table.outputs)
        return NcnnTable(self._graph.write(), inputs, outputs)


def write_random_ncnn(table: Table, int8: bool, seed: int = 0) -> NcnnTable:
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
