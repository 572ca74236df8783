"""Reads a network that `kwsd.train.tflite_writer` wrote back into float32, to learn on from it.

Weights come back as int8 kept them: a step of their channel is 1/127 of its largest weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kwsd.compile.outline import Operator
from kwsd.errors import ModelError
from kwsd.export.constants import Network, read_network
from kwsd.train.layers import BandFilter, Block, FloatNet

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class _Layer:
    """One layer that has weights."""

    weights: FloatArray
    """In the layout of the operator."""

    bias: FloatArray
    """[out]."""

    operator: Operator
    """That uses them."""


def read_net(path: Path) -> FloatNet:
    """Weights of a network file.

    Parameters
    ----------
    path : Path
        A ``.tflite`` as `kwsmodel train` writes it.

    Returns
    -------
    FloatNet

    Raises
    ------
    MissingFileError
        The file cannot be read.
    ModelError
        It is no network, or none that `kwsmodel train` made.
    """
    layers = _layers(read_network(path))
    try:
        return FloatNet(
            tuple(map(_band_filter, _numbered(layers, "stem"))),
            tuple(
                _block(depthwise, pointwise)
                for depthwise, pointwise in zip(
                    _numbered(layers, "dw"), _numbered(layers, "pw"), strict=True
                )
            ),
            layers["head"].weights,
            layers["head"].bias,
        )
    except (KeyError, IndexError, ValueError):
        raise ModelError(
            f"{path} has not the layers of a network of kwsmodel train: name a package that "
            "kwsmodel train made"
        ) from None


def _layers(network: Network) -> dict[str, _Layer]:
    """Layers with weights by the name that the writer gave them."""
    layers = {}
    for operator in network.outline.operators:
        if len(operator.inputs) < 3 or not {*operator.inputs[1:3]} <= network.constants.keys():
            continue
        name, _, kind = network.outline.tensors[operator.inputs[1]].name.partition("/")
        if kind == "weights":
            axis = 3 if operator.name == "DEPTHWISE_CONV_2D" else 0
            weights = _real(network, operator.inputs[1], axis)
            layers[name] = _Layer(weights, _real(network, operator.inputs[2], 0), operator)
    return layers


def _real(network: Network, index: int, axis: int) -> FloatArray:
    """A constant in float32; along the axis lie its scales, if there are several."""
    stored, scales = network.constants[index], np.array(network.outline.tensors[index].scales)
    if len(scales) > 1:
        shape = [1] * stored.ndim
        shape[axis] = -1
        scales = scales.reshape(shape)
    return np.asarray(stored * scales, np.float32)


def _numbered(layers: dict[str, _Layer], kind: str) -> list[_Layer]:
    count = sum(name.startswith(kind) for name in layers)
    return [layers[f"{kind}{number}"] for number in range(count)]


def _band_filter(layer: _Layer) -> BandFilter:
    out_first = np.ascontiguousarray(layer.weights.transpose(0, 3, 1, 2))
    stride = (layer.operator.steps or (1, 1, 1, 1))[0]
    return BandFilter(out_first, layer.bias, stride)


def _block(depthwise: _Layer, pointwise: _Layer) -> Block:
    dilation = (depthwise.operator.steps or (1, 1, 1, 1))[3]
    over_steps = np.ascontiguousarray(depthwise.weights[0, :, 0].T)
    mixing = np.ascontiguousarray(pointwise.weights[:, 0, 0])
    return Block(over_steps, depthwise.bias, dilation, mixing, pointwise.bias)
