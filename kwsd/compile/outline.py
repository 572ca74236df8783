"""Outline of a TensorFlow Lite network: operators and tensors, no weights.

Field numbers, operator numbers and types are those of the public TFLite schema, version 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kwsd.compile.flatbuffer import BadFlatbuffer, Table, root
from kwsd.errors import MissingFileError, ModelError

Parsed = TypeVar("Parsed")

LARGEST_BYTES = 256 << 20

DTYPES = (
    *("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64"),
    *("int8", "float64", "complex128", "uint64", "resource", "variant", "uint32", "uint16"),
    *("int4", "bfloat16"),
)

OPERATORS = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6
RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM
EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND
TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST
PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN
TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN
FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN
FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU
SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU
REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
PLACEHOLDER CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE
HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE
READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM
MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE
""".split()
"""Names by builtin code, from 0."""

_CUSTOM = OPERATORS.index("CUSTOM")

# Places of stride_w, stride_h, dilation_w and dilation_h in the options of an operator.
_STEPS = {"CONV_2D": (1, 2, 4, 5), "DEPTHWISE_CONV_2D": (1, 2, 5, 6)}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor."""

    name: str
    """As the file calls it."""

    shape: tuple[int, ...]
    """Sizes; -1 for one that is open."""

    dtype: str
    """numpy name, or TFLite's own types in small letters."""

    scales: tuple[float, ...]
    """Quantisation, one or one a channel; empty for none."""

    zero_points: tuple[int, ...]
    """Likewise."""

    variable: bool
    """Keeps its content from one run to the next."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator."""

    index: int
    """Place in its subgraph."""

    name: str
    """TFLite's name; a custom one is ``CUSTOM:`` and its own."""

    inputs: tuple[int, ...]
    """Tensors; -1 for one that is left out."""

    outputs: tuple[int, ...]
    """Tensors."""

    steps: tuple[int, int, int, int] | None
    """Convolutions: stride in x and y, dilation in x and y."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The first subgraph of a network, and how many there are."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int


def read_outline(path: Path) -> Outline:
    """The outline of a file; errors are those of `read_tflite`."""
    return read_tflite(path, parse_outline)


def read_tflite(path: Path, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Read a file, as far as `parse` does.

    Raises
    ------
    MissingFileError
        It cannot be read.
    ModelError
        It is no complete TFLite network.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return parse(data)
    except BadFlatbuffer as error:
        raise ModelError(f"{path} is no TFLite network: {error}; name a .tflite file") from None


def parse_outline(data: bytes) -> Outline:
    """The same for bytes in memory.

    Raises
    ------
    BadFlatbuffer
        They are no complete TFLite network.
    """
    model = root(data, b"TFL3")
    names = [_operator_name(code) for code in model.tables(1)]
    graphs = model.tables(2)
    if not graphs:
        raise BadFlatbuffer("it has no graph")
    graph = graphs[0]
    tensors = tuple(_tensor(table) for table in graph.tables(0))
    operators = []
    for index, table in enumerate(graph.tables(3)):
        code = table.scalar(0, "I")
        if code >= len(names):
            raise BadFlatbuffer(f"operator {index} has code {code} of {len(names)}")
        operators.append(
            Operator(
                index,
                names[code],
                _indices(table, 1, len(tensors)),
                _indices(table, 2, len(tensors)),
                _steps(names[code], table),
            )
        )
    ends = (_indices(graph, 1, len(tensors)), _indices(graph, 2, len(tensors)))
    return Outline(tensors, tuple(operators), *ends, len(graphs))


def _operator_name(code: Table) -> str:
    # Files of before 2020 have the number in the first field only, which ends at 127.
    number = max(code.scalar(0, "b"), code.scalar(3, "i"))
    if number == _CUSTOM:
        return f"CUSTOM:{code.text(1)}"
    return OPERATORS[number] if 0 <= number < len(OPERATORS) else f"OPERATOR_{number}"


def _tensor(table: Table) -> Tensor:
    kind = table.scalar(1, "b")
    quantisation = table.table(4)
    shape = table.numbers(7, "i") or table.numbers(0, "i")
    return Tensor(
        name=table.text(3),
        shape=tuple(int(size) for size in shape),
        dtype=DTYPES[kind] if 0 <= kind < len(DTYPES) else f"type {kind}",
        scales=() if quantisation is None else quantisation.numbers(2, "f"),
        zero_points=()
        if quantisation is None
        else tuple(int(zero) for zero in quantisation.numbers(3, "q")),
        variable=bool(table.scalar(5, "b")),
    )


def _indices(table: Table, field: int, count: int) -> tuple[int, ...]:
    found = tuple(int(index) for index in table.numbers(field, "i"))
    if any(not -1 <= index < count for index in found):
        raise BadFlatbuffer(f"tensors {found} of {count}")
    return found


def _steps(name: str, table: Table) -> tuple[int, int, int, int] | None:
    options = table.table(4) if name in _STEPS else None
    if options is None:
        return None
    x, y, dilation_x, dilation_y = _STEPS[name]
    return (
        options.scalar(x, "i"),
        options.scalar(y, "i"),
        options.scalar(dilation_x, "i", 1),
        options.scalar(dilation_y, "i", 1),
    )
