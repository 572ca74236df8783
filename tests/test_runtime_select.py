"""Choice of a runtime: order, reasons, proof by vectors."""

import numpy as np
import pytest
from model_fixture import write_random_package

from kwsd.errors import ConfigError, ModelError, RuntimeUnavailable
from kwsd.model.package import load_package
from kwsd.runtime import select
from kwsd.runtime.base import Probe
from kwsd.runtime.litert import LiteRtRuntime
from kwsd.runtime.select import open_session


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
        select, "RUNTIMES", {"litert": LiteRtRuntime, **{kind.name: kind for kind in kinds}}
    )


def test_first_choice(package):
    session, choice = open_session(package)
    session.close()
    assert choice.name == "litert"
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
