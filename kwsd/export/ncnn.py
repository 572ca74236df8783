"""Our streaming networks for NCNN: the int8 arithmetic of TFLite, in float32 that holds integers.

A blob holds ``stored - zero_point``. Products and sums of int8 values are whole numbers below 2^24,
so float32 computes them without error; each layer then scales by the same factor as TFLite, rounds
and saturates to the range of its tensor (Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018). NCNN's own int8 layers do not
fit: they quantise symmetrically, and our activations have zero points.

A tensor ``[1, time, 1, channels]`` is a blob of height `channels` and width `time`, because NCNN
filters along the width; one step and ``[1, channels]`` are a blob of one dimension. In the stem a
tensor ``[1, time, bands, channels]`` is a blob of `channels` planes of height `bands`.
"""

from __future__ import annotations

import math

import numpy as np

from kwsd.compile.outline import Operator, Tensor
from kwsd.errors import ModelError
from kwsd.export.constants import Network, read_network
from kwsd.export.ncnn_graph import NcnnFiles, NcnnGraph, half, single
from kwsd.model.package import ModelPackage

_VALID = 1
_ROUND = "0=18"


class _Unfit(Exception):
    """An operator that the conversion does not know, in words."""


def ncnn_files(package: ModelPackage) -> NcnnFiles:
    """Convert the network of a package.

    Parameters
    ----------
    package : ModelPackage
        With a network as `kwsmodel train` writes it. Blobs ``in0``, ``in1``, … are its inputs and
        ``out0``, ``out1``, … its outputs in the package's order.

    Raises
    ------
    MissingFileError
        The network cannot be read.
    ModelError
        It is no network, or it has something in it that this conversion does not know.
    """
    network = read_network(package.network)
    try:
        return _Conversion(network, package).convert()
    except _Unfit as error:
        raise ModelError(
            f"{package.name} cannot be exported for NCNN: {error}; the export reads int8 streaming "
            "networks as kwsmodel train writes them, others run with runtime litert"
        ) from None


class _Conversion:
    """One network, operator by operator."""

    def __init__(self, network: Network, package: ModelPackage) -> None:
        self._network, self._package = network, package
        self._graph = NcnnGraph()
        self._tensors = network.outline.tensors
        self._columns: dict[int, str] = {}
        self._rows: dict[int, str] = {}
        self._planes: dict[int, str] = {}
        self._kinds = {
            "CONCATENATION": self._concatenation,
            "STRIDED_SLICE": self._tail,
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._depthwise,
            "ADD": self._add,
            "RESHAPE": self._reshape,
            "FULLY_CONNECTED": self._dense,
            "LOGISTIC": self._logistic,
        }

    def convert(self) -> NcnnFiles:
        outline = self._network.outline
        index = {self._tensors[i].name: i for i in outline.inputs}
        for position, spec in enumerate(self._package.inputs):
            if spec.name not in index:
                raise _Unfit(f"it has no input {spec.name}")
            tensor = self._signal(index[spec.name])
            _, time, _, channels = self._steps(tensor)
            self._columns[index[spec.name]] = self._graph.add(
                "Input", (), f"0={time} 1={channels}", blob=f"in{position}"
            )
        for operator in outline.operators:
            if operator.name not in self._kinds:
                raise _Unfit(f"operator {operator.index} {operator.name} is not known here")
            try:
                self._kinds[operator.name](operator)
            except (_Unfit, KeyError, IndexError) as error:
                why = error if isinstance(error, _Unfit) else "it reads something unexpected"
                raise _Unfit(f"operator {operator.index} {operator.name}: {why}") from None
        index = {self._tensors[i].name: i for i in outline.outputs}
        for position, spec in enumerate(self._package.outputs):
            if spec.name not in index:
                raise _Unfit(f"it has no output {spec.name}")
            place = index[spec.name]
            source = self._column(place) if len(spec.shape) == 4 else self._row(place)
            self._graph.add("Noop", (source,), blob=f"out{position}")
        return self._graph.write()

    def _signal(self, index: int) -> Tensor:
        """An activation; it must be int8 with one scale."""
        tensor = self._tensors[index]
        if tensor.dtype != "int8" or len(tensor.scales) != 1 or len(tensor.zero_points) != 1:
            raise _Unfit(f"{tensor.name} is {tensor.dtype}, expected int8 with one scale")
        return tensor

    def _steps(self, tensor: Tensor) -> tuple[int, int, int, int]:
        shape = tensor.shape
        if len(shape) != 4 or shape[0] != 1 or shape[2] != 1 or min(shape) < 1:
            raise _Unfit(f"{tensor.name} is {list(shape)}, expected [1, time, 1, channels]")
        return (1, shape[1], 1, shape[3])

    def _row(self, index: int) -> str:
        """The tensor as a blob of one dimension, all steps of a channel together."""
        if index not in self._rows:
            length = math.prod(self._tensors[index].shape)
            self._rows[index] = self._graph.add("Reshape", (self._columns[index],), f"0={length}")
        return self._rows[index]

    def _column(self, index: int) -> str:
        """The tensor as a blob of channels by time."""
        if index not in self._columns:
            _, time, _, channels = self._steps(self._tensors[index])
            self._columns[index] = self._graph.add(
                "Reshape", (self._rows[index],), f"0={time} 1={channels}"
            )
        return self._columns[index]

    def _stored(self, blob: str, operator: Operator) -> str:
        """Round and saturate to the range of the operator's output, above zero for RELU."""
        tensor = self._signal(operator.outputs[0])
        zero = tensor.zero_points[0]
        activation = self._network.activation(operator.index)
        if activation not in ("NONE", "RELU"):
            raise _Unfit(f"{activation} is not known here")
        blob = self._graph.add("UnaryOp", (blob,), _ROUND)
        # A number without a point is an integer to NCNN, and its bits a tiny float to this layer.
        low, high = float(-128 - zero), float(127 - zero)
        if activation == "RELU":
            low = max(low, 0.0)
        return self._graph.add("Clip", (blob,), f"0={low} 1={high}")

    def _filter(
        self, operator: Operator, shape: tuple[int, ...], order: tuple[int, ...], axis: int
    ) -> tuple[bytes, str, bytes]:
        """Weights and bias as bytes, parameters and bytes of the scale behind them."""
        source, target = self._signal(operator.inputs[0]), self._signal(operator.outputs[0])
        stored, bias = (self._network.constants[i] for i in operator.inputs[1:3])
        tensor = self._tensors[operator.inputs[1]]
        channels = shape[axis]
        if stored.dtype != np.int8 or stored.shape != shape or any(tensor.zero_points):
            raise _Unfit(f"{tensor.name} is {stored.dtype} {list(stored.shape)}")
        if bias.dtype != np.int32 or bias.shape != (channels,):
            raise _Unfit(f"its bias is {bias.dtype} {list(bias.shape)}")
        scales = np.array(tensor.scales, np.float64)
        if scales.shape not in ((1,), (channels,)):
            raise _Unfit(f"{tensor.name} has {len(scales)} scales")
        factor = np.broadcast_to(scales * source.scales[0] / target.scales[0], channels)
        weights = half(stored.transpose(order)) + single(bias)
        return weights, f"0={channels}", single(factor)

    def _concatenation(self, operator: Operator) -> None:
        target = self._signal(operator.outputs[0])
        sources = [self._signal(index) for index in operator.inputs]
        if self._network.option(operator.index, 0, "i") not in (1, -3) or any(
            (s.scales, s.zero_points) != (target.scales, target.zero_points) for s in sources
        ):
            raise _Unfit("only along time and of equal scales")
        if self._network.activation(operator.index) != "NONE":
            raise _Unfit("a fused activation is not known here")
        self._steps(target)
        blobs = [self._column(index) for index in operator.inputs]
        self._columns[operator.outputs[0]] = self._graph.add("Concat", blobs, "0=1")

    def _tail(self, operator: Operator) -> None:
        source, target = self._signal(operator.inputs[0]), self._signal(operator.outputs[0])
        _, long, _, channels = self._steps(source)
        _, short, _, kept = self._steps(target)
        begin, _, strides = (self._network.constants[index] for index in operator.inputs[1:4])
        whole = begin.shape == strides.shape == (4,) and bool(np.all(strides == 1))
        if not whole or kept != channels or long - short != begin[1]:
            raise _Unfit("only the last steps of a tensor can be kept")
        self._columns[operator.outputs[0]] = self._graph.add(
            "Crop",
            (self._column(operator.inputs[0]),),
            f"0={long - short} 1=0 3={short} 4={channels}",
        )

    def _convolution(self, operator: Operator) -> None:
        if operator.inputs[0] in self._planes:
            self._over_bands(operator)
        else:
            self._over_steps(operator)

    def _over_bands(self, operator: Operator) -> None:
        """All steps at once, some bands at a time."""
        source, target = self._signal(operator.inputs[0]), self._signal(operator.outputs[0])
        _, time, bands, channels = source.shape
        kernel = self._tensors[operator.inputs[1]].shape
        stride, _, *dilations = operator.steps or (1, 1, 1, 1)
        span = kernel[2]
        places = (bands - span) // stride + 1
        if (
            kernel != (target.shape[3], time, span, channels)
            or target.shape[:3] != (1, 1, places)
            or self._network.option(operator.index, 0) != _VALID
            or any(n > 1 for n in dilations)
        ):
            raise _Unfit("only over all steps of its input, without padding")
        weights, width, factor = self._filter(operator, kernel, order=(0, 3, 2, 1), axis=0)
        parameters = f"{width} 1={time} 11={span} 3=1 13={stride} 5=1 6={math.prod(kernel)}"
        blob = self._planes[operator.inputs[0]]
        blob = self._graph.add("Convolution", (blob,), parameters, weights)
        blob = self._stored(self._scaled(blob, factor), operator)
        if places > 1:
            self._planes[operator.outputs[0]] = blob
        else:
            row = self._graph.add("Reshape", (blob,), f"0={kernel[0]}")
            self._rows[operator.outputs[0]] = row

    def _over_steps(self, operator: Operator) -> None:
        _, time, _, channels = self._steps(self._signal(operator.inputs[0]))
        shape = self._steps(self._signal(operator.outputs[0]))
        if shape[1] != 1 or (time > 1 and self._network.option(operator.index, 0) != _VALID):
            raise _Unfit("only over all steps of its input, without padding")
        out = shape[3]
        weights, width, factor = self._filter(
            operator, (out, time, 1, channels), order=(0, 3, 1, 2), axis=0
        )
        self._inner(operator, weights, f"{width} 1=1 2={out * time * channels}", factor)

    def _dense(self, operator: Operator) -> None:
        source, target = self._signal(operator.inputs[0]), self._signal(operator.outputs[0])
        if len(source.shape) != 2 or len(target.shape) != 2 or source.shape[0] != 1:
            raise _Unfit(f"{source.name} is {list(source.shape)}, expected [1, channels]")
        if self._network.option(operator.index, 1):
            raise _Unfit("shuffled weights are not known here")
        shape = (target.shape[1], source.shape[1])
        weights, width, factor = self._filter(operator, shape, order=(0, 1), axis=0)
        self._inner(operator, weights, f"{width} 1=1 2={shape[0] * shape[1]}", factor)

    def _inner(self, operator: Operator, weights: bytes, parameters: str, factor: bytes) -> None:
        blob = self._row(operator.inputs[0])
        blob = self._graph.add("InnerProduct", (blob,), parameters, weights)
        self._rows[operator.outputs[0]] = self._stored(self._scaled(blob, factor), operator)

    def _depthwise(self, operator: Operator) -> None:
        _, time, _, channels = self._steps(self._signal(operator.inputs[0]))
        shape = self._steps(self._signal(operator.outputs[0]))
        dilation = self._network.option(operator.index, 6, "i", 1)
        taps = self._network.constants[operator.inputs[1]].shape[1]
        if (
            shape != (1, 1, 1, channels)
            or time != (taps - 1) * dilation + 1
            or (time > 1 and self._network.option(operator.index, 0) != _VALID)
        ):
            raise _Unfit("only over all steps of its input, one filter a channel")
        weights, width, factor = self._filter(
            operator, (1, taps, 1, channels), order=(3, 0, 2, 1), axis=3
        )
        parameters = f"{width} 1={taps} 2={dilation} 5=1 6={taps * channels} 7={channels}"
        blob = self._column(operator.inputs[0])
        blob = self._graph.add("ConvolutionDepthWise1D", (blob,), parameters, weights)
        blob = self._graph.add("Reshape", (blob,), f"0={channels}")
        self._rows[operator.outputs[0]] = self._stored(self._scaled(blob, factor), operator)

    def _scaled(self, blob: str, factor: bytes) -> str:
        return self._graph.add("Scale", (blob,), f"0={len(factor) // 4}", factor)

    def _add(self, operator: Operator) -> None:
        target = self._signal(operator.outputs[0])
        sources = [self._signal(index) for index in operator.inputs]
        if any(source.shape != target.shape for source in sources):
            raise _Unfit("only of equal shapes")
        self._steps(target)
        factors = [np.float32(source.scales[0] / target.scales[0]) for source in sources]
        blobs = [self._row(index) for index in operator.inputs]
        numbers = ",".join(f"{factor:.9e}" for factor in factors)
        blob = self._graph.add("Eltwise", blobs, f"0=1 -23301={len(factors)},{numbers}")
        self._rows[operator.outputs[0]] = self._stored(blob, operator)

    def _reshape(self, operator: Operator) -> None:
        source, target = self._signal(operator.inputs[0]), self._signal(operator.outputs[0])
        _, time, _, channels = self._steps(source)
        if target.shape == (1, time, channels, 1):
            self._planes[operator.outputs[0]] = self._graph.add(
                "Reshape", (self._column(operator.inputs[0]),), f"0={time} 1={channels} 2=1"
            )
        elif time == 1 and target.shape == (1, channels):
            self._rows[operator.outputs[0]] = self._row(operator.inputs[0])
        else:
            raise _Unfit("only one step to [1, channels], or bands to planes")

    def _logistic(self, operator: Operator) -> None:
        source, target = self._signal(operator.inputs[0]), self._signal(operator.outputs[0])
        count = math.prod(source.shape)
        real = np.full(count, source.scales[0])
        blob = self._scaled(self._row(operator.inputs[0]), single(real))
        blob = self._graph.add("Sigmoid", (blob,))
        blob = self._scaled(blob, single(np.full(count, 1.0 / target.scales[0])))
        self._rows[operator.outputs[0]] = self._stored(blob, operator)
