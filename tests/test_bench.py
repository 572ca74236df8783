"""`kwsmodel bench`: counts that are published, shapes that runtimes agree on, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kwsd.bench.as_ncnn import write_random_ncnn
from kwsd.bench.as_tflite import write_random_tflite
from kwsd.bench.cost import GraphCost, Roofline, graph_cost
from kwsd.bench.layers import Table
from kwsd.bench.networks import CEILINGS, NETWORKS
from kwsd.bench.subject import SEED, open_subject, write_table
from kwsd.compile.outline import parse_outline, read_outline
from kwsd.kwsmodel import main


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet50", 4089), ("mobilenet_v1", 569), ("mobilenet_v2", 301), ("yolo_tiny", 2780)],
)
def test_multiplies_are_those_of_the_papers(name: str, millions: float) -> None:
    """Published: 4.09 G, 569 M and 300 M multiply-accumulates, and 5.56 G operations."""
    cost = graph_cost(parse_outline(write_random_tflite(NETWORKS[name]())))
    assert cost.multiplies / 1e6 == pytest.approx(millions, rel=0.01)


def small_table() -> Table:
    """Every kind of layer, odd sizes included."""
    table = Table("small")
    image = table.image(15)
    left = table.conv(image, 8, 3, 2)
    right = table.max_pool(table.conv(image, 8, 3), 2, 2)
    both = table.concat(table.add(left, right, relu=True), table.depthwise(left))
    table.conv(table.upsample(both), 5, relu=False)
    table.dense(table.global_pool(both), 7)
    return table


def test_runtimes_give_the_shapes_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ncnn", reason="NCNN is not here: pip install ncnn")
    monkeypatch.setitem(NETWORKS, "small", small_table)
    table = small_table()
    sizes = [table.layers[index].size for index in table.outputs]
    for runtime in ("litert", "ncnn", "ncnn-int8"):
        folder = tmp_path / runtime
        folder.mkdir()
        outputs = open_subject(write_table("small", runtime, folder, 1))()
        assert isinstance(outputs, list)
        for output, (channels, height, width) in zip(outputs, sizes, strict=True):
            if runtime == "litert":
                assert output.shape == (1, height, width, channels)
            elif height == 1:
                assert output.size == channels
            else:
                assert output.shape == (channels, height, width)
            assert np.isfinite(output.astype(float)).all()


def test_ncnn_file_holds_the_weights_of_every_layer() -> None:
    files = write_random_ncnn(small_table(), int8=False, seed=SEED).files
    announced = 0
    for line in files.param.decode().splitlines()[2:]:
        kind, *words = line.split()
        if kind in ("Convolution", "ConvolutionDepthWise", "InnerProduct"):
            key = "2=" if kind == "InnerProduct" else "6="
            (count,) = (int(word[2:]) for word in words if word.startswith(key))
            # Half precision behind a tag, filled up to four bytes.
            announced += 4 + (2 * count + 3) // 4 * 4
    biases = 8 + 8 + 8 + 5 + 7
    assert len(files.weights) == announced + 4 * biases


def test_roofline_is_the_lower_bound_of_two() -> None:
    cost = GraphCost(multiplies=1_000_000_000, bytes_moved=10_000_000)
    roof = Roofline("x", peak_gmacs=100.0, bandwidth_gbps=0.5)
    assert roof.by_operations(cost) == pytest.approx(100.0)
    assert roof.by_bandwidth(cost) == pytest.approx(50.0)
    assert roof.limit(cost) == pytest.approx(50.0)
    assert Roofline("x", 100.0, None).limit(cost) == pytest.approx(100.0)


def test_ceilings_are_dense_and_counted() -> None:
    for name, table in CEILINGS.items():
        side = int(name[-1])
        outline = parse_outline(write_random_tflite(table(), SEED))
        assert graph_cost(outline).multiplies == 4 * 28 * 28 * 256 * 256 * side * side


def test_command_measures_a_package(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "computer", "--runtime", "litert", "--seconds", "0.2", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert row["runtime"] == "litert" and row["measured"]["inferences"] >= 3
    assert 0 < row["measured"]["median_ms"] <= row["measured"]["p99_ms"]
    litert, z1 = found["roofs"]
    assert litert["name"] == "litert" and min(litert["peak_gmacs"], litert["bandwidth_gbps"]) > 0
    assert z1 == {"name": "Zhouyi Z1", "peak_gmacs": 102.4, "bandwidth_gbps": None}
    # 54 k weights; the stem uses its own at up to 18 places a step.
    assert 60_000 < found["models"]["computer"]["multiplies"] < 85_000


def test_files_of_one_name_are_kept_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {}
    for folder, channels in (("a", 4), ("b", 8)):
        table = Table(folder)
        table.conv(table.image(8), channels, 3)
        path = tmp_path / folder / "model.tflite"
        path.parent.mkdir()
        path.write_bytes(write_random_tflite(table))
        counts[str(path)] = graph_cost(read_outline(path)).multiplies
    command = ["bench", *counts, *counts, "--seconds", "0.1", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in found["rows"]] == list(counts)
    assert {name: row["multiplies"] for name, row in found["models"].items()} == counts


def test_a_network_that_is_named_twice_is_measured_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(NETWORKS, "small", small_table)
    command = ["bench", "small", "small", "--runtime", "litert", "--seconds", "0.1", "--json"]
    assert main(command) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["model"] == "small"


def test_what_cannot_run_is_listed_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KWSD_RUNTIME_AIPU_DEVICE", "/gone/npu")
    command = ["bench", "computer", "--runtime", "aipu", "--seconds", "0.2"]
    assert main(command) == 69
    out = " ".join(capsys.readouterr().out.split())
    # The device is the one that the configuration names.
    assert "computer on aipu was not run: " in out and "/gone/npu is not there" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense.tflite"], 66, "cannot be read"),
        (["no-such-model"], 66, "no model"),
        (["computer", "--threads", "0"], 64, "--threads 0"),
        (["computer", "--seconds", "inf"], 64, "at most 3600"),
        (["computer", "--threads", "2"], 64, "with one thread"),
        (["computer", "--runtime", "ncnn-int8"], 64, "possible are"),
    ],
)
def test_mistakes(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == code
    assert words in capsys.readouterr().err


def test_a_foreign_file_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.tflite").write_bytes(b"no network at all, only text")
    assert main(["bench", str(tmp_path / "a.tflite")]) == 65
    assert "is no TFLite network" in capsys.readouterr().err
