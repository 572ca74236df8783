"""Choice of a runtime: order, reasons, proof by vectors."""

import sys
from pathlib import Path

import numpy as np
import pytest
from model_fixture import write_random_package

from kwsd.assemble import runtime_options
from kwsd.config_schema import RUNTIME_NAMES, RuntimeSettings
from kwsd.errors import ConfigError, ModelError, RuntimeUnavailable
from kwsd.model.package import load_package
from kwsd.runtime import select
from kwsd.runtime.aipu.runtime import AipuSettings
from kwsd.runtime.base import Probe
from kwsd.runtime.litert import LiteRtRuntime
from kwsd.runtime.select import RuntimeOptions, open_session


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return load_package(write_random_package(tmp_path_factory.mktemp("models") / "random"))


class Absent:
    """Is not on this machine."""

    name = "absent"

    def probe(self):
        return Probe(False, "no device /dev/none")

    def open(self, package):
        raise AssertionError("opened although absent")


class Refusing(Absent):
    """Is there, but does not start."""

    name = "refusing"

    def probe(self):
        return Probe(True, "there")

    def open(self, package):
        raise RuntimeUnavailable("device is busy")


class Skewed(LiteRtRuntime):
    """Computes everything off by some units."""

    name = "skewed"
    by = 20
    closed = 0

    def open(self, package):
        inner, runtime = super().open(package), self

        class Session:
            inputs, outputs = inner.inputs, inner.outputs

            def step(self, inputs):
                outputs = inner.step(inputs)
                return {
                    name: np.clip(v.astype(int) + runtime.by, -128, 127).astype(np.int8)
                    for name, v in outputs.items()
                }

            def close(self):
                type(runtime).closed += 1
                inner.close()

        return Session()


class NearlyRight(Skewed):
    """As another interpreter would."""

    name = "near"
    by = 2


@pytest.fixture(autouse=True)
def runtimes(monkeypatch):
    """The known runtimes of these tests."""
    kinds = (Absent, Refusing, Skewed, NearlyRight)
    monkeypatch.setattr(
        select, "RUNTIMES", {**select.RUNTIMES, **{kind.name: kind for kind in kinds}}
    )


def test_first_choice(package):
    told = []
    session, choice = open_session(package, ("litert",), on_change=told.append)
    session.close()
    assert (choice.name, choice.word) == ("litert", "start")
    assert [(c.runtime, c.previous, c.reason) for c in told] == [("litert", None, "start")]
    assert choice.reason in ("ai_edge_litert", "tflite_runtime")


@pytest.mark.parametrize(
    ("first", "reason"),
    [("absent", "/dev/none"), ("refusing", "busy"), ("skewed", "off by 20")],
)
def test_falls_back_and_says_why(package, first, reason):
    session, choice = open_session(package, (first, "litert"))
    session.close()
    assert choice.name == "litert"
    assert f"{first}: " in choice.reason
    assert reason in choice.reason
    assert choice.word == ("vector-mismatch" if first == "skewed" else "unavailable")


def test_a_session_that_fails_its_proof_is_closed(package):
    before = Skewed.closed
    with pytest.raises(ModelError, match="off by 20, allowed 8"):
        open_session(package, ("skewed",))
    assert Skewed.closed == before + 1


def test_a_small_difference_is_allowed(package):
    session, choice = open_session(package, ("near", "litert"))
    session.close()
    assert choice.name == "near"


def test_nothing_there_lists_each_reason(package):
    with pytest.raises(RuntimeUnavailable) as caught:
        open_session(package, ("absent", "refusing"))
    for word in ("random", "absent: no device /dev/none", "refusing: device is busy"):
        assert word in str(caught.value)
    with pytest.raises(RuntimeUnavailable, match="order is empty"):
        open_session(package, ())


def test_unknown_name(package):
    with pytest.raises(ConfigError, match="unknown runtime 'gpu'.*litert"):
        open_session(package, ("gpu",))


def test_machine_without_an_aipu(package):
    """The default order on a stock machine: the CPU, and one word and sentence why."""
    told = []
    nowhere = RuntimeOptions(AipuSettings(device=Path("/dev/no-aipu")))
    session, choice = open_session(package, options=nowhere, on_change=told.append)
    session.close()
    assert (choice.name, choice.word) == ("litert", "no-device")
    assert "/dev/no-aipu is not there" in choice.reason
    assert [(c.runtime, c.previous, c.reason) for c in told] == [("litert", None, "no-device")]
    with pytest.raises(RuntimeUnavailable, match="no-device"):
        open_session(package, ("aipu",), nowhere)


def test_runtime_that_is_not_installed_is_a_reason(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "kwsd.runtime.ncnn", None)
    session, choice = open_session(package, ("ncnn", "litert"))
    session.close()
    assert (choice.name, choice.word) == ("litert", "unavailable")
    assert "pip install ncnn" in choice.reason


def test_usage_counts_steps(package):
    session, _ = open_session(package, ("litert",))
    before = session.usage()
    inputs = {s.name: np.full(s.shape, s.zero_point, s.dtype) for s in package.inputs}
    for _ in range(3):
        session.step(inputs)
    after = session.usage()
    session.rearm()
    session.close()
    assert (before.steps, after.steps) == ({}, {"litert": 3})
    assert sum(after.latency_us["litert"]) == 3
    assert (after.runtime, after.breaker, after.failures) == ("litert", "closed", {})


def test_configuration_and_defaults_say_the_same():
    settings = RuntimeSettings()
    assert settings.order == select.DEFAULT_ORDER
    assert set(RUNTIME_NAMES) == {"aipu", "litert", "ncnn"}
    assert runtime_options(settings) == RuntimeOptions()
