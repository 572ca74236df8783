"""Whatever is wrong with board, driver or package: one reason word, a next step, and the CPU."""

import os
import stat
import struct
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aipu_double.build import build
from aipu_double.container import R329
from aipu_double.packages import AffineSession, compile_for_double, compiled_copy

from kwsd.compile.flatbuffer import root
from kwsd.compile.outline import OPERATORS
from kwsd.event import runtime_event
from kwsd.runtime.aipu.runtime import AipuRuntime
from kwsd.runtime.change import QUIET_REASONS, RuntimeChange
from kwsd.runtime.failover import FailoverSession
from kwsd.runtime.failure import FINAL_REASONS, WAITING_REASONS, RuntimeFailure
from kwsd.runtime.litert import LiteRtRuntime
from kwsd.runtime.select import RuntimeOptions, open_session

pytest_plugins = ("aipu_double.fixtures",)
DOCUMENT = Path(__file__).parent.parent / "docs" / "aipu.md"
pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def package(tone_model, tmp_path, double):
    """The tone package with a graph that the double computes with LiteRT in this process."""
    package = compiled_copy(tmp_path / "tone", tone_model)
    double.compute_with(package, LiteRtRuntime().open(package))
    return package


@pytest.fixture
def serves_on_cpu(package, settings):
    """A function: opens the package with the default order and proves that the CPU computes it."""

    def serves(reason, step, **changes):
        told = []
        options = RuntimeOptions(replace(settings, **changes))
        session, choice = open_session(package, options=options, on_change=told.append)
        try:
            rest = {s.name: np.full(s.shape, s.zero_point, s.dtype) for s in package.inputs}
            reference = LiteRtRuntime().open(package)
            for name, expected in reference.step(rest).items():
                np.testing.assert_array_equal(session.step(rest)[name], expected)
            reference.close()
        finally:
            session.close()
        assert (choice.name, choice.word) == ("litert", reason)
        assert [(c.runtime, c.previous, c.reason) for c in told] == [("litert", None, reason)]
        assert step in choice.reason
        assert len(choice.reason.splitlines()) == 1
        assert session.usage().failures.get(reason, 0) <= 1

    return serves


def graph_bytes(package, change):
    file = package.path / "model.aipu.bin"
    file.write_bytes(change(file.read_bytes()))


@pytest.mark.parametrize(
    ("change", "reason", "step"),
    [
        (lambda data: data[:-1], "bad-graph", "cut or lengthened"),
        (lambda data: data[:10], "bad-graph", "no AIPU graph"),
        (lambda data: b"", "bad-graph", "no AIPU graph"),
        (lambda data: b"\x7fELF" + data[4:], "bad-graph", "compile for Z1_0701"),
        (lambda data: data[:4] + b"TFL3" + data[8:], "bad-graph", "compile it with aipubuild"),
        (lambda data: data[:200] + b"\x01" + data[201:], "manifest-mismatch", "compile again"),
    ],
)
def test_graph_that_is_cut_or_foreign_or_changed(serves_on_cpu, package, change, reason, step):
    graph_bytes(package, change)
    serves_on_cpu(reason, step)


def test_graph_for_another_chip(serves_on_cpu, package):
    compile_for_double(package, device=R329 + 1)
    serves_on_cpu("other-target", "is for Z1_0702, this device is Z1_0701")


def test_package_without_a_graph(serves_on_cpu, package):
    (package.path / "model.aipu.bin").unlink()
    serves_on_cpu("no-graph", "kwsmodel compile tone --target Z1_0701")
    assert "no-graph" in QUIET_REASONS


def test_graph_that_computes_something_else(serves_on_cpu, double):
    double.script("finish * corrupt")
    serves_on_cpu("vector-mismatch", "does not compute the model")


def test_graph_of_another_model(serves_on_cpu, package):
    """Its tensors have other shapes than the package's."""
    other = replace(package.inputs[0], shape=(1, 3, 1, 40))
    compile_for_double(package, inputs=(other, *package.inputs[1:]))
    serves_on_cpu("manifest-mismatch", "model.toml")


@pytest.mark.parametrize(
    ("status", "reason", "step"),
    [
        (0x8, "bad-graph", "graph version not supported"),
        (0xA, "other-target", "target not found"),
    ],
)
def test_graph_that_the_driver_refuses(serves_on_cpu, double, status, reason, step):
    double.script(f"load_graph * return {status:#x}")
    serves_on_cpu(reason, step)


def test_no_library(serves_on_cpu, tmp_path):
    serves_on_cpu("no-library", "check the configured path", library=tmp_path / "gone.so")


def test_library_for_another_machine(serves_on_cpu, double, tmp_path):
    data = double.library.read_bytes()
    library = tmp_path / "arm.so"
    library.write_bytes(data[:18] + struct.pack("<H", 40) + data[20:])
    serves_on_cpu("other-machine", "install the build for this board", library=library)


def test_library_of_2020(serves_on_cpu, tmp_path):
    old = build(tmp_path / "old.so", "OLD_API")
    serves_on_cpu("old-api", "install a Compass NPU driver", library=old)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a node that others cannot open")
def test_node_without_permission(settings, package):
    told = []
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        node = Path(folder) / "aipu"
        try:
            os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("device nodes are not allowed here")
        runtime = AipuRuntime(replace(settings, device=node))
        os.seteuid(65534)
        try:
            session = FailoverSession(package, runtime, AffineSession(), "cpu", told.append)
        finally:
            os.seteuid(0)
        assert session.runtime == "cpu"
        session.close()
    (change,) = told
    assert change.reason == "no-permission"
    assert "by user 65534: add it to the group of the node" in change.detail


def test_model_that_is_not_quantised(runtime, package):
    """Such a package is refused on loading; a network brought another way is refused here."""
    score = replace(package.outputs[0], dtype="float32")
    broken = replace(package, outputs=(score, *package.outputs[1:]))
    with pytest.raises(RuntimeFailure, match="is float32.*export the model as int8") as caught:
        runtime.open(broken)
    assert caught.value.reason == "not-quantised"


def test_model_with_an_operator_that_the_compiler_does_not_read(runtime, package):
    """It has no graph, and none can be made: the word is the operator, not the missing file."""
    (package.path / "model.aipu.bin").unlink()
    data = bytearray(package.network.read_bytes())
    for code in root(bytes(data), b"TFL3").tables(1):
        if code.scalar(0, "b") == OPERATORS.index("LOGISTIC"):
            data[code._place(0)] = data[code._place(3)] = OPERATORS.index("SVDF")
    package.network.write_bytes(data)
    with pytest.raises(RuntimeFailure, match="SVDF: not read.*kwsmodel check") as caught:
        runtime.open(package)
    assert caught.value.reason == "unsupported-operator"
    assert caught.value.reason in QUIET_REASONS & FINAL_REASONS


@pytest.mark.parametrize("word", sorted(FINAL_REASONS | WAITING_REASONS | QUIET_REASONS))
def test_every_word_fits_the_contract_of_events(validator, word):
    change = RuntimeChange("m", "1", "litert", None, word, "why")
    validator.validate(runtime_event([change]))
    assert word == "start" or f"`{word}`" in DOCUMENT.read_text()
