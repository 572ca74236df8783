"""``kwsmodel check``: the outline of a network and what the AIPU compiler would not read of it."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwsd.compile.flatbuffer import BadFlatbuffer, root
from kwsd.compile.outline import OPERATORS, parse_outline, read_outline
from kwsd.compile.rules import READABLE, findings, named_states
from kwsd.errors import MissingFileError, ModelError
from kwsd.kwsmodel import main


@pytest.fixture(scope="module")
def network(tone_model):
    return (tone_model / "model.tflite").read_bytes()


def with_operator(network, old, new):
    """The network with one operator code changed."""
    data = bytearray(network)
    for code in root(network, b"TFL3").tables(1):
        if code.scalar(0, "b") == OPERATORS.index(old):
            number = OPERATORS.index(new)
            data[code._place(0)] = min(number, 127)
            data[code._place(3)] = number
    return bytes(data)


def reasons(outline, states=()):
    return [finding.reason for finding in findings(outline, states)]


def test_own_export_is_read(network):
    outline = parse_outline(network)
    assert findings(outline, named_states(outline)) == []
    assert len(named_states(outline)) == len(outline.inputs) - 1
    assert {operator.name for operator in outline.operators} <= READABLE
    assert [outline.tensors[i].name for i in outline.inputs][0] == "features"
    assert {outline.tensors[i].dtype for i in (*outline.inputs, *outline.outputs)} == {"int8"}


@pytest.mark.parametrize("name", ["SVDF", "VAR_HANDLE", "CALL_ONCE", "WHILE", "BATCH_TO_SPACE_ND"])
def test_operators_that_are_not_read_are_named(network, name):
    changed = with_operator(network, "LOGISTIC", name)
    (finding,) = findings(parse_outline(changed))
    assert finding.reason == "unsupported-operator"
    assert finding.where.endswith(name)


def test_numbers_of_operators():
    for name, number in [("CONV_2D", 3), ("SVDF", 27), ("QUANTIZE", 114), ("VAR_HANDLE", 142)]:
        assert OPERATORS.index(name) == number
    assert READABLE <= set(OPERATORS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dtype": "float32"}, "not-quantised"),
        ({"scales": (), "zero_points": ()}, "not-quantised"),
        ({"shape": (1, -1, 1, 40)}, "dynamic-shape"),
        ({"shape": (64, 2, 1, 40)}, "too-large"),
        ({"shape": (1, 1 << 20, 1, 128)}, "too-large"),
        ({"variable": True}, "unsupported-operator"),
    ],
)
def test_border_tensors(network, change, reason):
    outline = parse_outline(network)
    score = next(i for i in outline.outputs if outline.tensors[i].name == "prob")
    tensors = list(outline.tensors)
    tensors[score] = replace(tensors[score], **change)
    assert reason in reasons(replace(outline, tensors=tuple(tensors)))


@pytest.mark.parametrize(
    "change", [{"scales": (9.0,)}, {"zero_points": (3,)}, {"shape": (1, 9)}, {"dtype": "int16"}]
)
def test_state_that_does_not_go_round(network, change):
    outline = parse_outline(network)
    pairs = named_states(outline)
    tensors = tuple(replace(t, **change) if t.name == pairs[0][1] else t for t in outline.tensors)
    found = findings(replace(outline, tensors=tensors), pairs)
    assert "state-mismatch" in [finding.reason for finding in found]


def test_several_graphs_and_long_steps(network):
    outline = parse_outline(network)
    assert reasons(replace(outline, subgraphs=2)) == ["unsupported-operator"]
    operators = tuple(
        replace(o, steps=(17, 1, 1, 41)) if o.name == "DEPTHWISE_CONV_2D" else o
        for o in outline.operators
    )
    texts = [finding.text for finding in findings(replace(outline, operators=operators))]
    assert "stride 17, allowed 16" in texts and "dilation 41, allowed 40" in texts


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_networks_are_refused_or_read(network, data):
    changed = bytearray(network[: data.draw(st.integers(0, len(network)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        findings(parse_outline(bytes(changed)))
    except BadFlatbuffer:
        pass


def test_lists_that_share_their_place_do_not_multiply():
    """A network of so many tensors, all of them one table with a shape of so many numbers."""
    count = 3000
    data = bytearray(b"\0\0\0\0TFL3")

    def table_of(field):
        data.extend(bytes(-len(data) % 4))
        vtable = len(data)
        data.extend(struct.pack("<HH", 6 + 2 * field, 8) + b"\0\0" * field + b"\4\0")
        data.extend(bytes(-len(data) % 4))
        place = len(data)
        data.extend(struct.pack("<iI", place - vtable, 4))
        return place

    data[:4] = struct.pack("<I", table_of(field=2))
    # One graph: its table begins behind the padding of its vtable.
    graphs = len(data)
    data.extend(bytes(8))
    graph = table_of(field=0)
    data[graphs : graphs + 8] = struct.pack("<II", 1, graph - graphs - 4)
    tensors = len(data)
    data.extend(struct.pack("<I", count) + bytes(4 * count))
    tensor = table_of(field=0)
    for place in range(tensors + 4, tensors + 4 + 4 * count, 4):
        data[place : place + 4] = struct.pack("<I", tensor - place)
    data.extend(struct.pack("<I", count) + struct.pack("<i", 1) * count)
    with pytest.raises(BadFlatbuffer, match="lie in one another"):
        parse_outline(bytes(data))


def test_files(tmp_path, network):
    with pytest.raises(MissingFileError):
        read_outline(tmp_path / "gone.tflite")
    (tmp_path / "text.tflite").write_text("not a network")
    with pytest.raises(ModelError, match="no TFLite network.*name a .tflite file"):
        read_outline(tmp_path / "text.tflite")


def test_command(tmp_path, tone_model, network, capsys):
    assert main(["check", str(tone_model)]) == 0
    assert "nothing stands in the way" in capsys.readouterr().out
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(with_operator(network, "LOGISTIC", "SVDF"))
    assert main(["check", str(bad)]) == 65
    out = capsys.readouterr().out
    assert "unsupported-operator: operator" in out and "SVDF" in out and "1 findings" in out
    for name in ("no-such-model", "x" * 300):
        assert main(["check", name]) == 66
        assert "no model" in capsys.readouterr().err
