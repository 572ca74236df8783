"""Failover between the AIPU test double and the CPU: no step lost, every change told once."""

import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from aipu_double.packages import AffineSession, affine, compiled_copy, random_inputs
from model_fixture import tone_bursts

from kwsd.dsp.features import HOP_SAMPLES, features
from kwsd.model.stream import StreamingModel
from kwsd.runtime.aipu.runtime import AipuRuntime
from kwsd.runtime.breaker import State
from kwsd.runtime.failover import FailoverSession
from kwsd.runtime.failure import RuntimeFailure
from kwsd.runtime.litert import LiteRtRuntime

pytest_plugins = ("aipu_double.fixtures",)
pytestmark = pytest.mark.usefixtures("no_leaks")


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def changes():
    return []


@pytest.fixture
def failover(runtime, package, clock, changes):
    """A function that opens a session over the affine package."""
    opened = []

    def open_session(preferred=runtime, **options):
        options = {"clock": clock, "spot_check_steps": 0, **options}
        opened.append(
            FailoverSession(package, preferred, AffineSession(), "cpu", changes.append, **options)
        )
        return opened[-1]

    yield open_session
    for session in opened:
        session.close()


def check_step(session, seed=1):
    inputs = random_inputs(seed)
    outputs = session.step(inputs)
    for name, expected in affine(inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)


def step_until(session, runtime, limit_s=10.0, between=lambda: None):
    """Steps, all of them right, until a runtime serves."""
    deadline = time.monotonic() + limit_s
    while session.runtime != runtime:
        assert time.monotonic() < deadline
        check_step(session)
        between()
        time.sleep(0.005)


def told(changes):
    return [(change.previous, change.runtime, change.reason) for change in changes]


START = (None, "aipu", "start")
BACK = ("cpu", "aipu", "recovered")


@pytest.mark.parametrize(
    ("action", "reason", "engines", "late"),
    [
        ("late 400", "time-out", 1, (1, 0)),
        ("never", "time-out", 2, (0, 1)),
        ("die", "engine-died", 2, (0, 0)),
        ("return 0x37", "suspended", 2, (0, 0)),
    ],
)
def test_fault_goes_to_the_cpu_and_back(
    failover, clock, double, changes, action, reason, engines, late
):
    session = failover()
    check_step(session)
    double.next("finish", action)
    check_step(session, seed=2)
    assert told(changes) == [START, ("aipu", "cpu", reason)]
    check_step(session, seed=3)
    clock.now_s += 1.0
    step_until(session, "aipu")
    assert told(changes) == [START, ("aipu", "cpu", reason), BACK]
    assert double.calls("init") == engines
    usage = session.usage()
    assert (usage.late_collected, usage.late_lost) == late
    assert (usage.failures, usage.restarts, usage.breaker) == ({reason: 1}, 1, "closed")
    assert usage.steps["aipu"] >= 1 and usage.steps["cpu"] >= 2
    assert sum(usage.latency_us["cpu"]) == usage.steps["cpu"]
    assert usage.table()["runtime"] == "aipu"


class SlowRuntime:
    """Starts when it is let."""

    def __init__(self, runtime):
        self.name = runtime.name
        self._runtime = runtime
        self.let = threading.Event()

    def open(self, package):
        assert self.let.wait(20)
        return self._runtime.open(package)


def test_a_start_that_takes_long_holds_nobody_up(failover, runtime, clock, changes):
    slow = SlowRuntime(runtime)
    session = failover(slow, start_by_s=clock.now_s)
    assert told(changes) == [(None, "cpu", "starting")] == told([session.refusal])
    check_step(session)
    clock.now_s += 40.0
    check_step(session, seed=2)
    assert session.runtime == "cpu" and session.usage().breaker == "open"
    slow.let.set()
    step_until(session, "aipu")
    assert told(changes)[1:] == [BACK]
    usage = session.usage()
    assert (usage.failures, usage.restarts, usage.breaker) == ({}, 0, "closed")


def test_why_a_start_that_took_long_failed_is_told_later(failover, runtime, double, clock, changes):
    slow = SlowRuntime(runtime)
    session = failover(slow, start_by_s=clock.now_s)
    double.script("init * return 0x37")
    slow.let.set()
    deadline = time.monotonic() + 20
    while len(changes) < 2:
        assert time.monotonic() < deadline
        check_step(session)
        time.sleep(0.005)
    assert told(changes)[1][:2] == ("cpu", "cpu")
    assert changes[1].reason not in ("starting", "recovered")
    assert session.usage().failures == {changes[1].reason: 1}
    double.script()
    clock.now_s += 1.0
    step_until(session, "aipu")
    assert session.usage().restarts == 1


def test_exceptions_in_a_row_use_the_same_engine_later(failover, clock, double, changes):
    session = failover()
    double.script("finish * exception")
    check_step(session)
    assert told(changes)[1:] == [("aipu", "cpu", "exception")]
    double.script()
    clock.now_s += 1.0
    step_until(session, "aipu")
    assert double.calls("init") == 1
    assert session.usage().late_collected == 0


def test_an_engine_that_rested_serves_only_if_it_reproduces_the_vectors(
    failover, clock, double, changes
):
    session = failover()
    double.script("finish * exception")
    check_step(session)
    double.script("finish * corrupt")
    clock.now_s += 1.0
    deadline = time.monotonic() + 10.0
    while "vector-mismatch" not in session.usage().failures:
        assert time.monotonic() < deadline
        check_step(session)
        time.sleep(0.005)
    assert told(changes) == [START, ("aipu", "cpu", "exception")]
    assert double.calls("init") == 1


def test_no_restart_before_its_time(failover, double, changes):
    session = failover()
    double.next("finish", "die")
    for _ in range(20):
        check_step(session)
    assert double.calls("init") == 1
    assert session.breaker_state is State.OPEN
    assert len(changes) == 2


def test_wrong_answers_are_found_by_the_spot_check(failover, double, changes):
    session = failover(spot_check_steps=4)
    for _ in range(8):
        check_step(session)
    double.script("finish * corrupt")
    for _ in range(4):
        session.step(random_inputs())
    assert told(changes)[1:] == [("aipu", "cpu", "output-mismatch")]
    check_step(session)


def test_wide_outputs_may_differ_by_as_much_as_their_proof_allows(failover):
    """A unit of int16 is a hundredth of one of int8."""
    session = failover(spot_check_steps=1)
    session.outputs = tuple(replace(spec, dtype="int16") for spec in session.outputs)
    inputs = random_inputs()
    for off, allowed in ((200, True), (300, False)):
        outputs = {name: value.astype(np.int64) + off for name, value in affine(inputs).items()}
        tolerant = SimpleNamespace(tolerance=2)
        if allowed:
            session._spot_check(tolerant, inputs, outputs)
            continue
        with pytest.raises(RuntimeFailure, match="off by 300 against cpu, allowed 256"):
            session._spot_check(tolerant, inputs, outputs)


def test_three_failed_restarts_then_only_on_request(failover, clock, double, changes):
    session = failover()
    double.script("finish * corrupt")
    os.kill(session.active.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while session.breaker_state is not State.HALTED:
        check_step(session)
        clock.now_s += 1.0
        time.sleep(0.01)
        assert time.monotonic() < deadline
    usage = session.usage()
    assert usage.failures == {"engine-died": 1, "vector-mismatch": 3}
    assert (usage.breaker, usage.runtime, usage.restarts) == ("halted", "cpu", 0)
    assert told(changes) == [START, ("aipu", "cpu", "engine-died")]
    double.script()
    session.rearm()
    step_until(session, "aipu")
    assert told(changes)[2:] == [BACK]


def test_driver_that_appears_later(failover, settings, clock, double, changes, tmp_path):
    node = tmp_path / "aipu"
    session = failover(AipuRuntime(replace(settings, device=node)))
    assert told(changes) == [(None, "cpu", "no-device")]
    for _ in range(3):
        check_step(session)
        clock.now_s += 31.0
    assert double.calls("init") == 0
    node.symlink_to("/dev/null")
    step_until(session, "aipu", between=lambda: setattr(clock, "now_s", clock.now_s + 31.0))
    assert told(changes) == [(None, "cpu", "no-device"), BACK]


def test_graph_that_is_wrong_is_not_tried_again(failover, package, clock, double, changes):
    (package.path / "model.aipu.bin").write_bytes(b"not a graph")
    session = failover()
    clock.now_s += 1000.0
    check_step(session)
    assert told(changes) == [(None, "cpu", "bad-graph")]
    assert (session.breaker_state, double.calls("init")) == (State.HALTED, 0)


def test_closing_during_a_restart_leaves_nothing(failover, clock, double):
    session = failover()
    double.next("finish", "die")
    check_step(session)
    clock.now_s += 1.0
    check_step(session)
    session.close()


@pytest.fixture
def tone(tone_model, tmp_path, double):
    """The tone package, compiled for the double, which computes it with LiteRT in this process."""
    package = compiled_copy(tmp_path / "tone", tone_model)
    double.compute_with(package, LiteRtRuntime().open(package))
    return package


def scores(package, session, frames, at_step=None, fault=None):
    """Scores of a stream, with something done between two of its steps."""
    model = StreamingModel(package, session)
    found = []
    for step, start in enumerate(range(0, len(frames) - 1, 2)):
        if step == at_step:
            fault()
        found += model.process(frames[start : start + 2], (start + 2) * HOP_SAMPLES)
    return np.array([score.value for score in found])


@pytest.mark.parametrize("fault", ["never", "exception", "killed"])
def test_every_word_is_found_across_a_fault(tone, runtime, double, changes, fault):
    """The fault comes in the middle of a word: state and step go on elsewhere, scores are equal."""
    frames = features(tone_bursts(4.0))
    cpu = LiteRtRuntime().open(tone)
    expected = scores(tone, cpu, frames)
    session = FailoverSession(tone, runtime, LiteRtRuntime().open(tone), "litert", changes.append)

    def happen():
        if fault == "killed":
            os.kill(session.active.pid, signal.SIGKILL)
        else:
            double.script(f"finish * {fault}")

    got = scores(tone, session, frames, at_step=55, fault=happen)
    np.testing.assert_array_equal(got, expected)
    assert (expected > 0.7).any()
    reason = {"never": "time-out", "killed": "engine-died"}.get(fault, fault)
    assert told(changes)[:2] == [START, ("aipu", "litert", reason)]
    assert sum(change.reason == reason for change in changes) == 1
    session.close()
