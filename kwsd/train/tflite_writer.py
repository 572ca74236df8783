"""Writes the quantised network as a TensorFlow Lite file: one step, no hidden state.

Inputs are the feature frames of one step and one int8 tensor for each state; outputs are the
probability and the new states. Only operators that the Zhouyi compiler's front end reads, in
versions that both LiteRT and tflite-runtime 2.14 load. The same network and ranges give the same
bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.train.layers import STRIDE, FloatNet
from kwsd.train.quantise import Affine, IntWeights, quantise_weights

FEATURE_INPUT = "features"
SCORE_OUTPUT = "prob"

_CONCATENATION, _STRIDED_SLICE, _CONV, _DEPTHWISE = 2, 2, 3, 3
_ADD, _RESHAPE, _FULLY_CONNECTED, _LOGISTIC = 2, 1, 4, 2
"""Operator versions: the oldest that carry int8."""


class GraphBuilder:
    """Collects tensors and operators of one subgraph."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema: Any = schema
        self._buffers = [schema.BufferT()]
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: list[tuple[int, int]] = []
        self._constants: dict[tuple[int, ...], int] = {}

    def _add(self, name: str, shape: Sequence[int], kind: int, data: NDArray[Any] | None) -> Any:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), [int(n) for n in shape], kind
        tensor.buffer = 0
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self._buffers.append(buffer)
            tensor.buffer = len(self._buffers) - 1
        self._tensors.append(tensor)
        return tensor

    def _quantised(self, tensor: Any, scale: Any, zero: Any, axis: int) -> int:
        parameters = self.schema.QuantizationParametersT()
        parameters.scale = np.atleast_1d(np.float32(scale)).tolist()
        parameters.zeroPoint = np.atleast_1d(np.int64(zero)).tolist()
        parameters.quantizedDimension = axis
        tensor.quantization = parameters
        return len(self._tensors) - 1

    def activation(self, name: str, shape: Sequence[int], affine: Affine) -> int:
        """An int8 tensor that is computed or fed; gives its index."""
        tensor = self._add(name, shape, self.schema.TensorType.INT8, None)
        return self._quantised(tensor, affine.scale, affine.zero_point, 0)

    def weights(self, name: str, stored: IntWeights) -> tuple[int, int]:
        """Weights and bias; gives both indices."""
        kinds = self.schema.TensorType
        tensor = self._add(f"{name}/weights", stored.values.shape, kinds.INT8, stored.values)
        zeros = np.zeros(len(stored.scale))
        weights = self._quantised(tensor, stored.scale, zeros, stored.axis)
        tensor = self._add(f"{name}/bias", stored.bias.shape, kinds.INT32, stored.bias)
        return weights, self._quantised(tensor, stored.bias_scale, zeros, 0)

    def constant(self, *values: int) -> int:
        """An int32 vector, made once."""
        if values not in self._constants:
            data = np.array(values, np.int32)
            name = "const/" + "_".join(map(str, values))
            self._add(name, [len(values)], self.schema.TensorType.INT32, data)
            self._constants[values] = len(self._tensors) - 1
        return self._constants[values]

    def operator(
        self,
        builtin: int,
        version: int,
        inputs: Sequence[int],
        output: int,
        options: Any = None,
        options_type: int = 0,
    ) -> None:
        """Append an operator."""
        code = (builtin, version)
        if code not in self._codes:
            self._codes.append(code)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self._codes.index(code)
        operator.inputs, operator.outputs = list(inputs), [output]
        if options is not None:
            operator.builtinOptionsType, operator.builtinOptions = options_type, options
        self._operators.append(operator)

    def finish(self, inputs: Sequence[int], outputs: Sequence[int], note: dict[str, Any]) -> bytes:
        """Pack everything; `note` goes into the metadata entry "kwsd"."""
        import flatbuffers

        s = self.schema
        graph = s.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs, graph.name = list(inputs), list(outputs), b"main"
        model = s.ModelT()
        model.version, model.description = 3, b"kwsd streaming model"
        model.subgraphs, model.operatorCodes = [graph], []
        for builtin, version in self._codes:
            code = s.OperatorCodeT()
            code.builtinCode, code.version = builtin, version
            code.deprecatedBuiltinCode = min(builtin, 127)
            model.operatorCodes.append(code)
        text = s.BufferT()
        text.data = np.frombuffer(json.dumps(note, sort_keys=True).encode(), np.uint8)
        model.buffers = [*self._buffers, text]
        entry = s.MetadataT()
        entry.name, entry.buffer = b"kwsd", len(model.buffers) - 1
        model.metadata = [entry]
        signature = s.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs = [self._named(i) for i in inputs]
        signature.outputs = [self._named(i) for i in outputs]
        model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _named(self, index: int) -> Any:
        entry = self.schema.TensorMapT()
        entry.name, entry.tensorIndex = self._tensors[index].name, index
        return entry


class _NetWriter:
    """Puts a `FloatNet` into a `GraphBuilder`, layer by layer."""

    def __init__(self, net: FloatNet, ranges: dict[str, Affine]) -> None:
        self.net, self.ranges = net, ranges
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

    def _conv(self, source: int, weights: tuple[int, int], target: int, relu: bool) -> None:
        s = self.graph.schema
        options = s.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = s.Padding.VALID, 1, 1
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

    def _stem(self, features: int) -> int:
        net = self.net
        past = net.stem_frames - STRIDE
        joined = self._remember("s0", FEATURE_INPUT, features, STRIDE, past, net.bands)
        kernel = np.ascontiguousarray(net.stem.transpose(0, 2, 1))[:, :, None, :]
        stored = quantise_weights(kernel, net.stem_bias, self.ranges[FEATURE_INPUT], axis=0)
        out = self.graph.activation("x0", [1, 1, 1, net.channels], self.ranges["x0"])
        self._conv(joined, self.graph.weights("stem", stored), out, relu=True)
        return out

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
        reshape = s.ReshapeOptionsT()
        reshape.newShape = [1, net.channels]
        self.graph.operator(
            self.builtin.RESHAPE,
            _RESHAPE,
            [current, self.graph.constant(1, net.channels)],
            flat,
            reshape,
            self.kinds.ReshapeOptions,
        )
        # Per tensor: older runtimes do not know per-channel weights here.
        stored = quantise_weights(net.head, net.head_bias, source, axis=0, per_channel=False)
        logit = self.graph.activation("logit", [1, 1], self.ranges["logit"])
        options = s.FullyConnectedOptionsT()
        options.fusedActivationFunction = options.weightsFormat = 0
        options.keepNumDims = False
        self.graph.operator(
            self.builtin.FULLY_CONNECTED,
            _FULLY_CONNECTED,
            [flat, *self.graph.weights("head", stored)],
            logit,
            options,
            self.kinds.FullyConnectedOptions,
        )
        probability = self.graph.activation(SCORE_OUTPUT, [1, 1], self.ranges[SCORE_OUTPUT])
        self.graph.operator(self.builtin.LOGISTIC, _LOGISTIC, [logit], probability)
        return probability

    def write(self) -> bytes:
        """The whole file."""
        features = self.graph.activation(
            FEATURE_INPUT, [1, STRIDE, 1, self.net.bands], self.ranges[FEATURE_INPUT]
        )
        self.inputs.append(features)
        current = self._stem(features)
        for index in range(len(self.net.blocks)):
            current = self._block(index, current)
        probability = self._head(current)
        names = [f"s{i}" for i in range(len(self.net.blocks) + 1)]
        note = {"states": [{"name": n, "input": f"{n}_in", "output": f"{n}_out"} for n in names]}
        return self.graph.finish(self.inputs, [probability, *self.state_outputs], note)


def write_tflite(net: FloatNet, ranges: dict[str, Affine]) -> bytes:
    """Quantise a network and give the bytes of its ``.tflite`` file.

    Parameters
    ----------
    net : FloatNet
        Weights.
    ranges : dict of Affine
        What `kwsd.train.quantise.calibrate` gives.

    Raises
    ------
    ValueError
        A layer looks at one step only, so that its state would be empty.
    """
    return _NetWriter(net, ranges).write()
