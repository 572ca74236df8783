"""The CPU runtime: proof steps, no memory between steps, absence of an interpreter."""

from pathlib import Path

import numpy as np
import pytest
from model_fixture import write_random_package

from kwsd.errors import MissingFileError, ModelError, RuntimeUnavailable
from kwsd.model.package import load_package
from kwsd.model.verify import load_vectors, verify
from kwsd.runtime import litert
from kwsd.runtime.litert import LiteRtRuntime, LiteRtSession
from kwsd.train.quantise import Affine
from kwsd.train.tflite_builder import GraphBuilder


@pytest.fixture
def package(tmp_path):
    return load_package(write_random_package(tmp_path / "random"))


def test_reproduces_the_vectors_exactly(package):
    session = LiteRtRuntime().open(package)
    assert verify(package, session) == 0
    session.close()


def test_a_step_depends_on_its_inputs_only(package):
    session, arrays = LiteRtRuntime().open(package), load_vectors(package)

    def step(i):
        return session.step({spec.name: arrays[spec.name][i] for spec in package.inputs})

    first = step(3)
    kept = {name: value.copy() for name, value in first.items()}
    step(7)
    again = step(3)
    for name, value in kept.items():
        # The arrays belong to the caller: a later step does not write into them.
        np.testing.assert_array_equal(first[name], value)
        np.testing.assert_array_equal(again[name], value)
    session.close()


def test_network_removed_after_the_check(package):
    package.network.unlink()
    with pytest.raises(MissingFileError, match="model.tflite"):
        LiteRtRuntime().open(package)


def test_bytes_that_are_no_network():
    with pytest.raises(ModelError, match="here cannot be loaded"):
        LiteRtSession(b"not a network", "here")


def test_a_network_that_asks_for_too_much_memory(package, monkeypatch):
    monkeypatch.setattr(litert, "LARGEST_WAKE_WORD_BYTES", 100)
    with pytest.raises(ModelError, match="needs 0 MiB for its tensors, a wake word may have 0"):
        LiteRtRuntime().open(package)
    monkeypatch.undo()
    for network in Path(__file__).parents[1].glob("models/*/model.tflite"):
        LiteRtSession(network.read_bytes(), network.parent.name, most_bytes=1 << 20).close()


def test_a_name_that_is_no_text(package):
    """A damaged byte in the network's own name of an input."""
    # The tensors lie behind the signature, which calls it the same.
    before, name, behind = package.network.read_bytes().rpartition(b"features")
    package.network.write_bytes(before + b"\xff" + name[1:] + behind)
    with pytest.raises(ModelError, match="cannot be loaded: .*decode.*; install the package again"):
        LiteRtRuntime().open(package)


def test_a_type_that_numpy_does_not_have():
    graph = GraphBuilder()
    schema = graph.schema
    ends = [graph.activation(name, (1, 4), Affine(0.1, 0)) for name in ("in", "out")]
    for end in ends:
        graph._tensors[end].type = schema.TensorType.BFLOAT16
    shape = graph.constant(1, 4)
    graph.operator(schema.BuiltinOperator.RESHAPE, 1, [ends[0], shape], ends[1])
    network = graph.finish(ends[:1], ends[1:], {})
    with pytest.raises(ModelError, match="here cannot be loaded: .*data-type"):
        LiteRtSession(network, "here")


def test_a_network_that_loads_and_does_not_run(package, monkeypatch):
    """As one with an index that is out of bounds: LiteRT finds that out when it gets there."""

    class Refusing:
        def __init__(self, interpreter):
            self._interpreter = interpreter

        def __getattr__(self, name):
            return getattr(self._interpreter, name)

        def invoke(self):
            raise RuntimeError("gather index out of bounds\nNode number 7 (GATHER) failed")

    session = LiteRtRuntime().open(package)
    session._interpreter = Refusing(session._interpreter)
    words = "cannot be run: gather index out of bounds; install the package again"
    with pytest.raises(ModelError, match=words):
        verify(package, session)


def test_no_interpreter(package, monkeypatch):
    monkeypatch.setattr(litert, "MODULES", ("no_such_a.interpreter", "no_such_b.interpreter"))
    probe = LiteRtRuntime().probe()
    assert not probe.available
    for word in ("no_such_a", "no_such_b", "pip install"):
        assert word in probe.reason
    with pytest.raises(RuntimeUnavailable):
        LiteRtRuntime().open(package)
