"""Writes the quantised network as a TensorFlow Lite file: one step, no hidden state.

Inputs are the feature frames of one step and one int8 tensor for each state; outputs are the
probability and the new states. Only operators that the Zhouyi compiler's front end reads, in
versions that both LiteRT and tflite-runtime 2.14 load. The same network and ranges give the same
bytes.
"""

from __future__ import annotations

import numpy as np

from kwsd.dsp.features import BANDS
from kwsd.train.layers import STRIDE, FloatNet
from kwsd.train.quantise import PRECISIONS, Affine, quantise_weights, wide_affine
from kwsd.train.tflite_builder import GraphBuilder

FEATURE_INPUT = "features"
SCORE_OUTPUT = "prob"

_CONCATENATION, _STRIDED_SLICE, _CONV, _DEPTHWISE = 2, 2, 3, 3
_ADD, _RESHAPE, _FULLY_CONNECTED, _LOGISTIC = 2, 1, 4, 2
"""Operator versions: the oldest that carry int8."""

_QUANTIZE, _FULLY_CONNECTED_16, _LOGISTIC_16 = 2, 7, 3
"""Those that carry int16."""

WIDE_PROBABILITY = Affine(1.0 / 32768.0, 0)
"""What the operator LOGISTIC gives in int16, by its definition."""


class _NetWriter:
    """Puts a `FloatNet` into a `GraphBuilder`, layer by layer."""

    def __init__(self, net: FloatNet, ranges: dict[str, Affine], precision: str) -> None:
        self.net, self.ranges = net, ranges
        self.wide_head = precision == "mixed"
        self.graph = GraphBuilder()
        self.builtin = self.graph.schema.BuiltinOperator
        self.kinds = self.graph.schema.BuiltinOptions
        self.inputs: list[int] = []
        self.state_outputs: list[int] = []

    def _remember(
        self, name: str, of: str, current: int, fresh: int, steps: int, width: int
    ) -> int:
        """State of `steps` rows in front of `fresh` new ones: concat, keep the last, give both."""
        if steps < 1:
            raise ValueError(f"{name} has nothing to remember: the layer needs a longer kernel")
        s, affine = self.graph.schema, self.ranges[of]
        state = self.graph.activation(f"{name}_in", [1, steps, 1, width], affine)
        self.inputs.append(state)
        joined = self.graph.activation(f"{name}_all", [1, steps + fresh, 1, width], affine)
        concat = s.ConcatenationOptionsT()
        concat.axis = 1
        self.graph.operator(
            self.builtin.CONCATENATION,
            _CONCATENATION,
            [state, current],
            joined,
            concat,
            self.kinds.ConcatenationOptions,
        )
        kept = self.graph.activation(f"{name}_out", [1, steps, 1, width], affine)
        cut = s.StridedSliceOptionsT()
        # The begin of dimension 1 counts; every other begin and every end is "as it is".
        cut.beginMask, cut.endMask = 0b1101, 0b1111
        cut.ellipsisMask = cut.newAxisMask = cut.shrinkAxisMask = 0
        begin = self.graph.constant(0, fresh, 0, 0)
        end, stride = self.graph.constant(0, 0, 0, 0), self.graph.constant(1, 1, 1, 1)
        self.graph.operator(
            self.builtin.STRIDED_SLICE,
            _STRIDED_SLICE,
            [joined, begin, end, stride],
            kept,
            cut,
            self.kinds.StridedSliceOptions,
        )
        self.state_outputs.append(kept)
        return joined

    def _conv(
        self, source: int, weights: tuple[int, int], target: int, relu: bool, stride: int = 1
    ) -> None:
        s = self.graph.schema
        options = s.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = s.Padding.VALID, 1, stride
        options.dilationHFactor = options.dilationWFactor = 1
        kinds = s.ActivationFunctionType
        options.fusedActivationFunction = kinds.RELU if relu else kinds.NONE
        self.graph.operator(
            self.builtin.CONV_2D,
            _CONV,
            [source, *weights],
            target,
            options,
            self.kinds.Conv2DOptions,
        )

    def _reshape(self, source: int, shape: list[int], target: int) -> None:
        options = self.graph.schema.ReshapeOptionsT()
        options.newShape = shape
        self.graph.operator(
            self.builtin.RESHAPE,
            _RESHAPE,
            [source, self.graph.constant(*shape)],
            target,
            options,
            self.kinds.ReshapeOptions,
        )

    def _stem(self, features: int) -> int:
        net = self.net
        past = net.stem_frames - STRIDE
        joined = self._remember("s0", FEATURE_INPUT, features, STRIDE, past, BANDS)
        # Bands become a dimension of their own: filters go along it.
        shape = [1, net.stem_frames, BANDS, 1]
        current = self.graph.activation("map", shape, self.ranges[FEATURE_INPUT])
        self._reshape(joined, shape, current)
        source = FEATURE_INPUT
        layers = zip(net.stem, net.stem_bands, net.stem_names, strict=True)
        for index, (layer, bands, target) in enumerate(layers):
            kernel = np.ascontiguousarray(layer.weights.transpose(0, 2, 3, 1))
            stored = quantise_weights(kernel, layer.bias, self.ranges[source], axis=0)
            weights = self.graph.weights(f"stem{index}", stored)
            out = self.graph.activation(target, [1, 1, bands, len(kernel)], self.ranges[target])
            self._conv(current, weights, out, relu=True, stride=layer.stride)
            current, source = out, target
        return current

    def _block(self, index: int, current: int) -> int:
        s, net, block = self.graph.schema, self.net, self.net.blocks[index]
        source, width = f"x{index}", net.channels
        joined = self._remember(f"s{index + 1}", source, current, 1, block.memory_steps, width)
        kernel = np.ascontiguousarray(block.depthwise.T)[None, :, None, :]
        stored = quantise_weights(kernel, block.depthwise_bias, self.ranges[source], axis=3)
        filtered = self.graph.activation(f"dw{index}", [1, 1, 1, width], self.ranges[f"dw{index}"])
        options = s.DepthwiseConv2DOptionsT()
        options.padding, options.strideH, options.strideW = s.Padding.VALID, 1, 1
        options.depthMultiplier, options.fusedActivationFunction = 1, 0
        options.dilationHFactor, options.dilationWFactor = block.dilation, 1
        self.graph.operator(
            self.builtin.DEPTHWISE_CONV_2D,
            _DEPTHWISE,
            [joined, *self.graph.weights(f"dw{index}", stored)],
            filtered,
            options,
            self.kinds.DepthwiseConv2DOptions,
        )
        kernel = block.pointwise[:, None, None, :]
        stored = quantise_weights(kernel, block.pointwise_bias, self.ranges[f"dw{index}"], axis=0)
        mixed = self.graph.activation(f"pw{index}", [1, 1, 1, width], self.ranges[f"pw{index}"])
        self._conv(filtered, self.graph.weights(f"pw{index}", stored), mixed, relu=False)
        out = self.graph.activation(f"x{index + 1}", [1, 1, 1, width], self.ranges[f"x{index + 1}"])
        add = s.AddOptionsT()
        add.fusedActivationFunction, add.potScaleInt16 = s.ActivationFunctionType.RELU, False
        self.graph.operator(
            self.builtin.ADD, _ADD, [current, mixed], out, add, self.kinds.AddOptions
        )
        return out

    def _head(self, current: int) -> int:
        s, net = self.graph.schema, self.net
        source = self.ranges[f"x{len(net.blocks)}"]
        flat = self.graph.activation("flat", [1, net.channels], source)
        self._reshape(current, [1, net.channels], flat)
        options = s.FullyConnectedOptionsT()
        options.fusedActivationFunction = options.weightsFormat = 0
        options.keepNumDims = False
        kind = self.kinds.FullyConnectedOptions
        logits, probabilities, bits = self.ranges["logit"], self.ranges[SCORE_OUTPUT], 8
        versions = (_FULLY_CONNECTED, _LOGISTIC)
        if self.wide_head:
            source, logits, bits = wide_affine(source), wide_affine(logits), 16
            probabilities = WIDE_PROBABILITY
            flat = self._widened(flat, source)
            versions = (_FULLY_CONNECTED_16, _LOGISTIC_16)
        # Per tensor: older runtimes do not know per-channel weights here.
        stored = quantise_weights(
            net.head, net.head_bias, source, axis=0, per_channel=False, bias_bits=4 * bits
        )
        logit = self.graph.activation("logit", [1, 1], logits, bits)
        self.graph.operator(
            self.builtin.FULLY_CONNECTED,
            versions[0],
            [flat, *self.graph.weights("head", stored)],
            logit,
            options,
            kind,
        )
        probability = self.graph.activation(SCORE_OUTPUT, [1, 1], probabilities, bits)
        self.graph.operator(self.builtin.LOGISTIC, versions[1], [logit], probability)
        return probability

    def _widened(self, flat: int, affine: Affine) -> int:
        """The last activation in int16."""
        wide = self.graph.activation("flat16", [1, self.net.channels], affine, 16)
        self.graph.operator(
            self.builtin.QUANTIZE,
            _QUANTIZE,
            [flat],
            wide,
            self.graph.schema.QuantizeOptionsT(),
            self.kinds.QuantizeOptions,
        )
        return wide

    def write(self) -> bytes:
        """The whole file."""
        features = self.graph.activation(
            FEATURE_INPUT, [1, STRIDE, 1, BANDS], self.ranges[FEATURE_INPUT]
        )
        self.inputs.append(features)
        current = self._stem(features)
        for index in range(len(self.net.blocks)):
            current = self._block(index, current)
        probability = self._head(current)
        names = [f"s{i}" for i in range(len(self.net.blocks) + 1)]
        note = {"states": [{"name": n, "input": f"{n}_in", "output": f"{n}_out"} for n in names]}
        return self.graph.finish(self.inputs, [probability, *self.state_outputs], note)


def write_tflite(net: FloatNet, ranges: dict[str, Affine], precision: str = "int8") -> bytes:
    """Quantise a network and give the bytes of its ``.tflite`` file.

    Parameters
    ----------
    net : FloatNet
        Weights.
    ranges : dict of Affine
        What `kwsd.train.quantise.calibrate` gives.
    precision : str
        ``int8``, or ``mixed``: int8 with the last layer and the probability in int16. Near 0 and 1
        an int8 probability has steps of 1/256, and a threshold can lie nowhere between.

    Raises
    ------
    ValueError
        An unknown precision, or a layer looks at one step only, so that its state would be empty.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: {' or '.join(PRECISIONS)} are allowed")
    return _NetWriter(net, ranges, precision).write()
