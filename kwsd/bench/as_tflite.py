"""A layer table as an int8 TensorFlow Lite file with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from kwsd.bench.layers import Layer, Table
from kwsd.train.quantise import Affine, IntWeights
from kwsd.train.tflite_builder import GraphBuilder

ACTIVATIONS = Affine(0.05, 0)
"""One range for all tensors: values mean nothing, and sums and joins need no rescaling."""


class _Writer:
    def __init__(self, table: Table, seed: int) -> None:
        self._table = table
        self._rng = np.random.default_rng(seed)
        self._graph = GraphBuilder()
        self._schema: Any = self._graph.schema
        self._tensors: list[int] = []

    def _weights(self, name: str, shape: tuple[int, ...], axis: int) -> tuple[int, int]:
        channels = shape[axis]
        taps = int(np.prod(shape)) // channels
        # Outputs as loud as inputs, so that nothing saturates from end to end.
        scale = np.full(channels, 1.0 / (74.0 * np.sqrt(taps)), np.float32)
        stored = IntWeights(
            self._rng.integers(-127, 128, shape, dtype=np.int8),
            scale,
            np.zeros(channels, np.int32),
            (scale * ACTIVATIONS.scale).astype(np.float32),
            axis,
        )
        return self._graph.weights(name, stored)

    def _window(self, options: Any, layer: Layer) -> Any:
        options.padding = self._schema.Padding.SAME
        options.strideH = options.strideW = layer.stride
        options.fusedActivationFunction = int(layer.relu)
        return options

    def _layer(self, index: int, layer: Layer) -> int:
        s, kinds = self._schema, self._schema.BuiltinOptions
        builtin = s.BuiltinOperator
        channels, height, width = layer.size
        name = f"{layer.kind}{index}"
        out = self._graph.activation(name, [1, height, width, channels], ACTIVATIONS)
        inputs = [self._tensors[source] for source in layer.sources]
        if layer.kind == "input":
            return out
        into = self._table.layers[layer.sources[0]].size[0]
        if layer.kind == "conv":
            options = self._window(s.Conv2DOptionsT(), layer)
            options.dilationHFactor = options.dilationWFactor = 1
            weights = self._weights(name, (channels, layer.kernel, layer.kernel, into), 0)
            code, version, kind = builtin.CONV_2D, 3, kinds.Conv2DOptions
            inputs += weights
        elif layer.kind == "depthwise":
            options = self._window(s.DepthwiseConv2DOptionsT(), layer)
            options.dilationHFactor = options.dilationWFactor = options.depthMultiplier = 1
            weights = self._weights(name, (1, layer.kernel, layer.kernel, channels), 3)
            code, version, kind = builtin.DEPTHWISE_CONV_2D, 3, kinds.DepthwiseConv2DOptions
            inputs += weights
        elif layer.kind == "add":
            options = s.AddOptionsT()
            options.fusedActivationFunction, options.potScaleInt16 = int(layer.relu), False
            code, version, kind = builtin.ADD, 2, kinds.AddOptions
        elif layer.kind in ("max_pool", "global_pool"):
            options = self._window(s.Pool2DOptionsT(), layer)
            options.filterHeight = options.filterWidth = layer.kernel
            code, version, kind = builtin.MAX_POOL_2D, 2, kinds.Pool2DOptions
            if layer.kind == "global_pool":
                _, options.filterHeight, options.filterWidth = self._table.layers[
                    layer.sources[0]
                ].size
                options.padding, code = s.Padding.VALID, builtin.AVERAGE_POOL_2D
        elif layer.kind == "upsample":
            options = s.ResizeNearestNeighborOptionsT()
            options.alignCorners = options.halfPixelCenters = False
            inputs.append(self._graph.constant(height, width))
            code, version = builtin.RESIZE_NEAREST_NEIGHBOR, 2
            kind = kinds.ResizeNearestNeighborOptions
        elif layer.kind == "concat":
            options = s.ConcatenationOptionsT()
            options.axis, options.fusedActivationFunction = 3, 0
            code, version, kind = builtin.CONCATENATION, 2, kinds.ConcatenationOptions
        else:
            # A convolution of one pixel: the same sum, and per-channel scales everywhere.
            options = self._window(s.Conv2DOptionsT(), layer)
            options.dilationHFactor = options.dilationWFactor = 1
            code, version, kind = builtin.CONV_2D, 3, kinds.Conv2DOptions
            inputs += self._weights(name, (channels, 1, 1, into), 0)
        self._graph.operator(code, version, inputs, out, options, kind)
        return out

    def write(self) -> bytes:
        for index, layer in enumerate(self._table.layers):
            self._tensors.append(self._layer(index, layer))
        inputs = [
            tensor
            for tensor, layer in zip(self._tensors, self._table.layers, strict=True)
            if layer.kind == "input"
        ]
        outputs = [self._tensors[index] for index in self._table.outputs]
        return self._graph.finish(inputs, outputs, {"bench": self._table.name})


def write_random_tflite(table: Table, seed: int = 0) -> bytes:
    """int8 network with the shapes of a table and random weights.

    Parameters
    ----------
    table : Table
        Layers.
    seed : int
        Of the weights.
    """
    return _Writer(table, seed).write()
