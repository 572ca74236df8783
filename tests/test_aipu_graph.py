"""The graph container reader: what it takes, and that nothing damaged gets through."""

import struct

import pytest
from aipu_double.container import container
from hypothesis import given, settings
from hypothesis import strategies as st

from kwsd.runtime.aipu.graph import BadGraph, GraphTensor, parse_graph, read_graph, target_name

INPUTS = [(80, 3, 50.0, 0), (32, 3, 20.0, 3)]
OUTPUTS = [(1, 3, 256.0, 128), (32, 3, 20.0, 3)]
GRAPH = container(INPUTS, OUTPUTS)
BSS = struct.unpack_from("<I", GRAPH, 48 + 32)[0]


def test_reads_target_and_tensors_in_the_order_of_their_ids(tmp_path):
    file = tmp_path / "model.aipu.bin"
    file.write_bytes(GRAPH)
    graph = read_graph(file)
    assert graph.target == "Z1_0701"
    assert graph.builder == (5, 4, 100)
    assert graph.inputs == (GraphTensor(0, 80, 3, 50.0, 0), GraphTensor(1, 32, 3, 20.0, 3))
    assert graph.outputs == (GraphTensor(0, 1, 3, 256.0, 128), GraphTensor(1, 32, 3, 20.0, 3))


def test_target_names():
    assert target_name(0x000102BD) == "Z1_0701"
    assert target_name(0x000203E9) == "Z2_1001"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no AIPU graph"),
        (b"AIPU BIN", "no AIPU graph"),
        (b"some text that is long enough" * 10, "no AIPU graph"),
        (b"\x7fELF" + b"\0" * 200, "ELF graph"),
        (b"\x1c\0\0\0TFL3" + b"\0" * 200, "TFLite"),
        (GRAPH[:-1], "cut or lengthened"),
        (GRAPH + b"\0", "cut or lengthened"),
        (container(INPUTS, OUTPUTS, version=0x06000000), "container version"),
        (container([], OUTPUTS), "no inputs"),
        (container(INPUTS, []), "no outputs"),
    ],
)
def test_other_files(data, message):
    with pytest.raises(BadGraph, match=message):
        parse_graph(data)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (28, 60, "header"),
        (48, 1 << 31, "text lies"),
        (52, 0, "text is empty"),
        (60, 0, "rodata is empty"),
        (84, 1 << 31, "bss"),
        (84, 20, "ends early"),
        (BSS, 0, "empty stack"),
        (BSS + 8, 1 << 30, "counts"),
        (BSS + 12, 2, "no inputs"),
    ],
)
def test_one_wrong_word(offset, value, message):
    data = bytearray(GRAPH)
    struct.pack_into("<I", data, offset, value)
    with pytest.raises(BadGraph, match=message):
        parse_graph(bytes(data))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GRAPH) - 1), st.integers(0, 255))
def test_any_byte_changed_is_read_or_refused(position, value):
    data = bytearray(GRAPH)
    data[position] = value
    try:
        parse_graph(bytes(data))
    except BadGraph:
        pass
