"""Emit: a part of a network as a TensorFlow Lite file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kwsd.compile.outline import Outline
from kwsd.errors import RuntimeUnavailable


@dataclass(frozen=True)
class Border:
    """What a part takes and gives, as tensors of the whole network."""

    inputs: tuple[int, ...]
    """Computed elsewhere or fed."""

    outputs: tuple[int, ...]
    """Used elsewhere or a result of the network."""


def border(outline: Outline, operators: Sequence[int]) -> Border:
    """The border of some operators."""
    inside = set(operators)
    made = [i for index in operators for i in outline.operators[index].outputs]
    computed = {i for operator in outline.operators for i in operator.outputs}
    used = [i for index in operators for i in outline.operators[index].inputs if i >= 0]
    inputs = [i for i in used if i not in made and (i in computed or i in outline.inputs)]
    elsewhere = set(outline.outputs)
    for operator in outline.operators:
        if operator.index not in inside:
            elsewhere.update(operator.inputs)
    return Border(tuple(dict.fromkeys(inputs)), tuple(i for i in made if i in elsewhere))


class Emitter:
    """Writes parts of one network.

    Parameters
    ----------
    data : bytes
        The network's file, already read by `kwsd.compile.outline`.
    names : sequence of str
        A name for every tensor, none twice.

    Raises
    ------
    RuntimeUnavailable
        The package with the file's schema is not installed.
    """

    def __init__(self, data: bytes, names: Sequence[str]) -> None:
        try:
            from ai_edge_litert import schema_py_generated as schema
        except ImportError:
            raise RuntimeUnavailable(
                "to write networks the package ai-edge-litert is needed: pip install ai-edge-litert"
            ) from None
        self._schema: Any = schema
        self._model: Any = schema.ModelT.InitFromPackedBuf(data, 0)
        self._names = names

    def part(self, operators: Sequence[int], ends: Border) -> bytes:
        """The file of some operators."""
        import flatbuffers

        s, whole = self._schema, self._model.subgraphs[0]
        chosen = [whole.operators[index] for index in operators]
        used = [*ends.inputs]
        for operator in chosen:
            used += [int(i) for i in (*operator.inputs, *operator.outputs) if i >= 0]
        tensors = list(dict.fromkeys(used))
        place = {tensor: index for index, tensor in enumerate(tensors)}
        graph, model = s.SubGraphT(), s.ModelT()
        model.version, model.description = 3, b"part of a network, cut by kwsd"
        model.buffers, model.operatorCodes, model.metadata = [s.BufferT()], [], []
        graph.name, graph.tensors, graph.operators = b"main", [], []
        for index in tensors:
            graph.tensors.append(self._tensor(index, whole.tensors[index], model))
        codes: dict[int, int] = {}
        for operator in chosen:
            code = int(operator.opcodeIndex)
            if code not in codes:
                codes[code] = len(model.operatorCodes)
                model.operatorCodes.append(self._model.operatorCodes[code])
            graph.operators.append(self._operator(operator, codes[code], place))
        graph.inputs = [place[index] for index in ends.inputs]
        graph.outputs = [place[index] for index in ends.outputs]
        model.subgraphs = [graph]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, index: int, source: Any, model: Any) -> Any:
        copy = self._schema.TensorT()
        copy.name, copy.shape, copy.type = self._names[index].encode(), source.shape, source.type
        copy.shapeSignature, copy.quantization = source.shapeSignature, source.quantization
        copy.isVariable, copy.sparsity, copy.buffer = source.isVariable, source.sparsity, 0
        content = self._model.buffers[source.buffer].data
        if content is not None and len(content) > 0:
            buffer = self._schema.BufferT()
            buffer.data = content
            model.buffers.append(buffer)
            copy.buffer = len(model.buffers) - 1
        return copy

    def _operator(self, source: Any, code: int, place: dict[int, int]) -> Any:
        copy = self._schema.OperatorT()
        copy.opcodeIndex = code
        copy.inputs = [place[int(i)] if i >= 0 else -1 for i in source.inputs]
        copy.outputs = [place[int(i)] for i in source.outputs]
        copy.builtinOptionsType, copy.builtinOptions = (
            source.builtinOptionsType,
            source.builtinOptions,
        )
        copy.customOptions, copy.customOptionsFormat = (
            source.customOptions,
            source.customOptionsFormat,
        )
        return copy
