"""Cut: parts are convex and whole, the cut chain gives the uncut network's bytes, bad input."""

from __future__ import annotations

import configparser
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fixture import package_content, random_net

from kwsd.bench.as_tflite import write_random_tflite
from kwsd.bench.layers import Table
from kwsd.compile.outline import Operator, Outline, Tensor, parse_outline
from kwsd.cut.chain import CutChain
from kwsd.cut.manifest import MANIFEST, read_manifest
from kwsd.cut.partition import BODY, REST, Partition, partition
from kwsd.cut.run_command import _different
from kwsd.errors import ModelError
from kwsd.kwsmodel import main
from kwsd.model.write import write_package
from kwsd.runtime.litert import LiteRtSession
from kwsd.train.quantise import Affine
from kwsd.train.tflite_builder import GraphBuilder

READ, UNREAD = "ADD", "RESIZE_NEAREST_NEIGHBOR"


def tensor(name: str, dtype: str = "int8") -> Tensor:
    return Tensor(name, (1, 4), dtype, (0.1,), (0,), False)


@st.composite
def networks(draw: st.DrawFn) -> Outline:
    """A random graph: every operator reads one to three earlier tensors."""
    count = draw(st.integers(1, 14))
    operators = []
    for index in range(count):
        sources = draw(st.lists(st.integers(0, index), min_size=1, max_size=3, unique=True))
        name = draw(st.sampled_from((READ, UNREAD)))
        operators.append(Operator(index, name, tuple(sources), (index + 1,), None))
    read = {source for operator in operators for source in operator.inputs}
    outputs = tuple(i for i in range(1, count + 1) if i not in read)
    tensors = tuple(tensor(f"t{i}") for i in range(count + 1))
    return Outline(tensors, tuple(operators), (0,), outputs, 1)


def runs_in_order(outline: Outline, made: Partition) -> bool:
    """Whether every part finds what it reads when its turn comes: convexity, as it is used."""
    known = set(outline.inputs)
    for part in made.parts:
        inside: set[int] = set()
        for index in part.operators:
            operator = outline.operators[index]
            if not all(source in known or source in inside for source in operator.inputs):
                return False
            inside.update(operator.outputs)
        known |= inside
    return True


@given(networks())
@settings(max_examples=300, deadline=None)
def test_every_operator_is_in_one_part_and_parts_can_run_in_turn(outline: Outline) -> None:
    made = partition(outline, least_multiplies=0)
    placed = [index for part in made.parts for index in part.operators]
    assert sorted(placed) == list(range(len(outline.operators)))
    assert runs_in_order(outline, made)
    for part in made.parts:
        names = {outline.operators[index].name for index in part.operators}
        assert names == ({READ} if part.kind == BODY else {UNREAD})


@given(networks())
@settings(max_examples=100, deadline=None)
def test_bodies_that_are_not_worth_their_border_stay(outline: Outline) -> None:
    made = partition(outline, least_multiplies=1)
    assert [part.kind for part in made.parts] == [REST]
    assert len(made.reasons) == len(outline.operators)


def test_floating_point_stays_on_the_cpu() -> None:
    tensors = (tensor("a"), tensor("b", "float32"), tensor("c", "float32"), tensor("d"))
    operators = (
        Operator(0, "DEQUANTIZE", (0,), (1,), None),
        Operator(1, "ADD", (1, 1), (2,), None),
        Operator(2, "QUANTIZE", (2,), (3,), None),
    )
    made = partition(Outline(tensors, operators, (0,), (3,), 1), 0)
    assert [part.kind for part in made.parts] == [REST]
    assert "float32" in made.reasons[0] and "float32" in made.reasons[2]


def branched() -> bytes:
    """Two branches around an operator that the AIPU does not read, joined behind it."""
    table = Table("branched")
    image = table.image(12)
    first = table.conv(image, 8, 3, 2)
    grown = table.upsample(first)
    beside = table.conv(image, 8, 3)
    table.conv(table.concat(grown, beside), 6, 3)
    table.dense(table.global_pool(table.conv(grown, 4, relu=False)), 5)
    return write_random_tflite(table)


def cut(folder: Path, *arguments: str) -> tuple[int, Path]:
    (folder / "net.tflite").write_bytes(branched())
    out = folder / "cut"
    command = ["cut", str(folder / "net.tflite"), "--out", str(out), "--min-multiplies", "100"]
    return main([*command, *arguments]), out


def test_cut_chain_gives_the_uncut_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = cut(tmp_path)
    assert code == 0
    manifest = read_manifest(out)
    assert [part.kind for part in manifest.parts] == [BODY, REST, BODY]
    said = capsys.readouterr().out
    assert "RESIZE_NEAREST_NEIGHBOR: not read by the compiler's front end" in said
    chain = CutChain(out)
    whole = LiteRtSession(branched(), "whole", delegates=False)
    rng = np.random.default_rng(3)
    for _ in range(5):
        inputs = {spec.name: rng.integers(-128, 128, spec.shape, np.int8) for spec in whole.inputs}
        expected, found = whole.step(inputs), chain.step(inputs)
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)
    assert main(["run", str(out)]) == 0
    assert "every output equals" in capsys.readouterr().out


def test_bodies_hold_what_the_compiler_reads_and_nothing_else(tmp_path: Path) -> None:
    _, out = cut(tmp_path)
    for part in read_manifest(out).parts:
        outline = parse_outline((out / part.file).read_bytes())
        names = {operator.name for operator in outline.operators}
        assert (UNREAD in names) == (part.kind == REST)
        assert [outline.tensors[i].name for i in outline.inputs] == list(part.inputs)
        configured = {file.name for file in (out / part.file).parent.iterdir()}
        assert ("compass.cfg" in configured) == (part.kind == BODY)
        if part.kind == BODY:
            text = (out / part.file).with_name("compass.cfg").read_text()
            assert f"input = {','.join(part.inputs)}" in text
            assert f"output = {','.join(part.outputs)}" in text


def test_a_configuration_names_files_that_are_there(tmp_path: Path) -> None:
    _, out = cut(tmp_path)
    found = list(out.glob("*-body/*.cfg"))
    assert len(found) == 4
    for file in found:
        configuration = configparser.ConfigParser()
        configuration.read(file)
        for section in configuration.sections():
            for key, value in configuration[section].items():
                if key not in ("outputs", "output_dir") and Path(value).suffix in (
                    ".tflite",
                    ".npy",
                ):
                    assert (file.parent / value).is_file(), f"{file}: {key} = {value}"


def renamed(network: bytes, names: dict[str, str]) -> bytes:
    """The network with some tensors called otherwise."""
    from ai_edge_litert import schema_py_generated as schema

    flatbuffers = pytest.importorskip("flatbuffers", reason="install flatbuffers")
    model = schema.ModelT.InitFromPackedBuf(network, 0)
    for one in model.subgraphs[0].tensors:
        name = one.name.decode()
        one.name = names.get(name, name).encode()
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_names_that_a_configuration_cannot_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inside they are made plain, as converters join names; at the network's ends they stay."""
    _, out = cut(tmp_path)
    body = read_manifest(out).parts[0]
    inside = next(name for name in body.outputs if name not in read_manifest(out).outputs)
    file = tmp_path / "net2.tflite"
    command = ["cut", str(file), "--out", str(tmp_path / "cut2"), "--min-multiplies", "100"]
    file.write_bytes(renamed(branched(), {inside: "conv;relu, 1"}))
    assert main(command) == 0
    assert main(["run", str(tmp_path / "cut2")]) == 0
    assert "conv_relu__1" in read_manifest(tmp_path / "cut2").parts[0].outputs
    file.write_bytes(renamed(branched(), {body.inputs[0]: "image;0"}))
    assert main(command) == 65
    assert "plain names" in capsys.readouterr().err


def test_a_target_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = cut(tmp_path, "--target", "X9\noutputs = x")
    assert code == 64 and not out.exists()
    assert "must be like Z1_0701" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["computer", "jarvis"])
def test_shipped_packages_are_one_body(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cut", model, "--out", str(tmp_path / "cut")]) == 0
    manifest = read_manifest(tmp_path / "cut")
    assert [part.kind for part in manifest.parts] == [BODY]
    assert len(manifest.states) == 6
    assert main(["run", str(tmp_path / "cut"), "--repeats", "2"]) == 0
    assert "every output equals" in capsys.readouterr().out


def test_a_package_of_few_recorded_steps_is_cut(tmp_path: Path) -> None:
    made = package_content(random_net(0), "few")
    few = {name: steps[:3] for name, steps in made.vectors.items()}
    package = tmp_path / "few"
    write_package(package, replace(made, vectors=few))
    command = ["cut", str(package), "--out", str(tmp_path / "cut"), "--min-multiplies", "0"]
    assert main(command) == 0
    assert main(["run", str(tmp_path / "cut")]) == 0


def test_states_go_round_by_themselves(tmp_path: Path) -> None:
    assert main(["cut", "computer", "--out", str(tmp_path / "cut")]) == 0
    features = np.random.default_rng(1).integers(-128, 128, (6, 1, 2, 1, 40), np.int8)
    np.savez(tmp_path / "in.npz", features=features)
    outputs = tmp_path / "out.npz"
    command = ["run", str(tmp_path / "cut"), "--input", str(tmp_path / "in.npz")]
    assert main([*command, "--output", str(outputs)]) == 0
    with np.load(outputs) as found:
        # Each step remembers the one before: the last two frames that went in come out as state.
        assert found["prob"].shape[0] == 6
        np.testing.assert_array_equal(found["s0_out"][2][0, -2:], features[2][0])


def test_a_changed_part_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = cut(tmp_path)
    file = out / read_manifest(out).parts[0].file
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert main(["run", str(out)]) == 65
    assert "is not the file of the manifest" in capsys.readouterr().err


def test_another_result_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps of another network with honest hashes: the comparison itself must see it."""
    _, out = cut(tmp_path)
    with np.load(out / "vectors.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = read_manifest(out).outputs[0]
    arrays[name] = arrays[name] + np.int8(1)
    np.savez(out / "vectors.npz", **arrays)
    import hashlib

    rows = json.loads((out / MANIFEST).read_text())
    rows["vectors_sha256"] = hashlib.sha256((out / "vectors.npz").read_bytes()).hexdigest()
    (out / MANIFEST).write_text(json.dumps(rows))
    assert main(["run", str(out)]) == 65
    assert f"{name} differs from the uncut network" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: rows.pop("parts"),
        lambda rows: rows.update(format=9),
        lambda rows: rows["parts"][0].update(kind="npu"),
        lambda rows: rows["parts"][0].update(file="../net.tflite"),
        lambda rows: rows["parts"].reverse(),
        lambda rows: rows["outputs"].append("nowhere"),
    ],
)
def test_damaged_manifests_are_refused(damage, tmp_path: Path) -> None:
    _, out = cut(tmp_path)
    rows = json.loads((out / MANIFEST).read_text())
    damage(rows)
    (out / MANIFEST).write_text(json.dumps(rows))
    with pytest.raises(ModelError):
        read_manifest(out)


def test_folder_that_is_no_cut_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "mine").write_text("x")
    assert cut(tmp_path)[0] == 73
    assert (tmp_path / "cut" / "mine").read_text() == "x"
    assert not list(tmp_path.glob(".cut*"))
    assert "name another folder" in capsys.readouterr().err


def test_an_earlier_cut_is_replaced(tmp_path: Path) -> None:
    assert cut(tmp_path)[0] == 0
    assert cut(tmp_path)[0] == 0


def test_what_is_not_of_the_cut_is_not_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A graph that somebody compiled of a body, and a folder with another program's manifest."""
    _, out = cut(tmp_path)
    (out / "1-body" / "aipu.bin").write_bytes(b"hours of work")
    assert cut(tmp_path)[0] == 73
    assert (out / "1-body" / "aipu.bin").read_bytes() == b"hours of work"
    assert "holds 1-body/aipu.bin" in capsys.readouterr().err
    shutil.rmtree(out)
    out.mkdir()
    (out / MANIFEST).write_text('{"name": "extension"}')
    (out / "mine.js").write_text("x")
    assert cut(tmp_path)[0] == 73
    assert (out / "mine.js").read_text() == "x"
    assert "is no cut" in capsys.readouterr().err
    assert not list(tmp_path.glob(".cut*"))


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"text", 65, "no TFLite network"),
        (branched()[:4000], 65, "no TFLite network"),
    ],
)
def test_foreign_and_truncated_files(
    content: bytes, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.tflite").write_bytes(content)
    assert main(["cut", str(tmp_path / "x.tflite")]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["no-such-model", "x" * 300, "x" * 300 + ".tflite"])
def test_networks_that_are_not_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cut", name]) == 66
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_nothing_left_for_the_aipu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = cut(tmp_path, "--min-multiplies", "1000000000")
    assert code == 65 and not out.exists()
    assert "nothing is left for the AIPU" in capsys.readouterr().out


def test_hidden_state_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tensor that keeps its content, as an SVDF has one: no operator says so."""
    graph = GraphBuilder()
    schema = graph.schema
    fed, kept, given = (graph.activation(name, (1, 4), Affine(0.1, 0)) for name in "abc")
    graph._tensors[kept].isVariable = True
    options = schema.AddOptionsT(), schema.BuiltinOptions.AddOptions
    graph.operator(schema.BuiltinOperator.ADD, 1, [fed, kept], given, *options)
    (tmp_path / "kept.tflite").write_bytes(graph.finish([fed], [given], {}))
    out = tmp_path / "cut"
    command = ["cut", str(tmp_path / "kept.tflite"), "--out", str(out), "--min-multiplies", "0"]
    assert main(command) == 65
    assert "tensor b: hidden state" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("want", "given", "words"),
    [
        (np.float32([0.5, 1.0]), np.float32([0.5, np.nan]), "differs"),
        (np.int64([2**60]), np.int64([2**60 + 1]), "differs"),
        (np.int8([1]), np.uint8([1]), "is uint8"),
        (np.int8([1, 2]), np.int8([[1, 2]]), "is int8"),
        (np.int8([1, 2]), np.int8([1, 5]), "differs from the uncut network by up to 3"),
    ],
)
def test_every_bit_is_compared(want: Any, given: Any, words: str) -> None:
    (line,) = _different({"x": want}, {"x": given})
    assert line.startswith(f"x {words}")
    assert _different({"x": want}, {"x": want.copy()}) == []


def test_steps_that_lack_an_output_are_not_equal() -> None:
    assert _different({}, {"x": np.zeros(1, np.int8)}) == ["x is not among the recorded steps"]


def test_outputs_are_kept_until_there_are_new_ones(
    tmp_path: Path, small_files: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = cut(tmp_path)
    kept = tmp_path / "out.npz"
    kept.write_bytes(b"of an earlier run")
    with small_files(100):
        assert main(["run", str(out), "--output", str(kept)]) == 73
    assert f"{kept} cannot be written" in capsys.readouterr().err
    assert kept.read_bytes() == b"of an earlier run"
    assert main(["run", str(out), "--output", str(kept)]) == 0
    with np.load(kept) as found:
        assert set(found.files) == set(read_manifest(out).outputs)


def test_what_is_read_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = cut(tmp_path)
    vectors = out / "vectors.npz"
    before = vectors.read_bytes()
    given = tmp_path / "in.npz"
    given.symlink_to(vectors)
    command = ["run", str(out), "--input", str(given)]
    assert main([*command, "--output", str(given)]) == 64
    assert main([*command, "--output", str(vectors)]) == 64
    assert main(["run", str(out), "--output", str(vectors)]) == 64
    assert "would replace what is read" in capsys.readouterr().err
    assert vectors.read_bytes() == before


def test_what_is_no_array_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = cut(tmp_path)
    with zipfile.ZipFile(tmp_path / "in.npz", "w") as file:
        file.writestr("input0", b"raw")
    assert main(["run", str(out), "--input", str(tmp_path / "in.npz")]) == 65
    assert "input0 in it is no array" in capsys.readouterr().err


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': (",
        "{[]: 1}",
        f"{{'descr': '|i1', 'fortran_order': False, 'shape': ({1 << 70},)}}",
    ],
)
def test_damaged_inputs_are_refused_in_one_line(
    header: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = cut(tmp_path)
    with zipfile.ZipFile(tmp_path / "in.npz", "w") as file:
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        file.writestr("input0.npy", start + header.encode())
    assert main(["run", str(out), "--input", str(tmp_path / "in.npz")]) == 65
    assert "in.npz is no .npz of arrays: " in capsys.readouterr().err


def test_missing_inputs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = cut(tmp_path)
    np.savez(tmp_path / "in.npz", other=np.zeros(3))
    assert main(["run", str(out), "--input", str(tmp_path / "in.npz")]) == 65
    assert "no array 'input0'" in capsys.readouterr().err
