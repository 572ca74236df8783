"""Builds a TensorFlow Lite file: tensors, operators and buffers of one subgraph.

What goes in the same way comes out as the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.train.quantise import Affine, IntWeights


def _sharing_builder() -> Any:
    """A builder of flat buffers that stores equal arrays once.

    Every channel has a zero point of eight bytes, and all of them are zero: stored for each layer
    they would be a seventh of the file.
    """
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(1 << 16)
            self._stored: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 (the library's name)
            key = (x.dtype.str, x.tobytes())
            if key not in self._stored:
                self._stored[key] = super().CreateNumpyVector(x)
            return self._stored[key]

    return SharingBuilder()


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
        tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), kind
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
        parameters.scale = np.atleast_1d(np.float32(scale))
        parameters.zeroPoint = np.atleast_1d(np.int64(zero))
        parameters.quantizedDimension = axis
        tensor.quantization = parameters
        return len(self._tensors) - 1

    def activation(self, name: str, shape: Sequence[int], affine: Affine, bits: int = 8) -> int:
        """An int8 or int16 tensor that is computed or fed; gives its index."""
        kinds = self.schema.TensorType
        tensor = self._add(name, shape, kinds.INT8 if bits == 8 else kinds.INT16, None)
        return self._quantised(tensor, affine.scale, affine.zero_point, 0)

    def weights(self, name: str, stored: IntWeights) -> tuple[int, int]:
        """Weights and bias; gives both indices."""
        kinds = self.schema.TensorType
        tensor = self._add(f"{name}/weights", stored.values.shape, kinds.INT8, stored.values)
        zeros = np.zeros(len(stored.scale))
        weights = self._quantised(tensor, stored.scale, zeros, stored.axis)
        kind = kinds.INT32 if stored.bias.dtype == np.int32 else kinds.INT64
        tensor = self._add(f"{name}/bias", stored.bias.shape, kind, stored.bias)
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
        builder = _sharing_builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _named(self, index: int) -> Any:
        entry = self.schema.TensorMapT()
        entry.name, entry.tensorIndex = self._tensors[index].name, index
        return entry
