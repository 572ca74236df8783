"""The AIPU session against the test double: what is called, what comes back, what goes wrong."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aipu_double.leaks import children_after
from aipu_double.packages import (
    SCORE,
    STATE_IN,
    STATE_OUT,
    affine,
    compile_for_double,
    random_inputs,
)

from kwsd.runtime.aipu.session import requantise
from kwsd.runtime.failure import RuntimeFailure
from kwsd.runtime.fallible import Recovery

pytest_plugins = ("aipu_double.fixtures",)
pytestmark = pytest.mark.usefixtures("no_leaks")


def check_step(session, seed=1):
    inputs = random_inputs(seed)
    outputs = session.step(inputs)
    for name, expected in affine(inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)
        assert outputs[name].dtype == expected.dtype


def failing_step(session):
    with pytest.raises(RuntimeFailure) as caught:
        session.step(random_inputs())
    return caught.value


def wait_for(condition, limit_s=5.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_steps_and_one_of_each_call(runtime, double, package):
    session = runtime.open(package)
    for seed in range(5):
        check_step(session, seed)
    session.close()
    for function in ("init", "load_graph", "create", "clean", "unload", "deinit"):
        assert double.calls(function) == 1, function
    for what in ("contexts", "graphs", "jobs", "configurations"):
        assert double.live(what) == 0, what
    steps = 3 + package.vectors.steps + 5
    assert double.calls("finish") == steps
    assert double.calls("load_tensor") == double.calls("get_tensor") == 2 * steps


def test_outputs_belong_to_the_caller(session):
    first = session.step(random_inputs(1))
    kept = {name: value.copy() for name, value in first.items()}
    session.step(random_inputs(2))
    for name, value in kept.items():
        np.testing.assert_array_equal(first[name], value)


def test_wrong_input_is_refused_before_the_driver_reads_it(session, double):
    calls = double.calls("load_tensor")
    inputs = random_inputs()
    with pytest.raises(ValueError, match="s0_in is int8"):
        session.step({**inputs, "s0_in": inputs["s0_in"][:, :1]})
    assert double.calls("load_tensor") == calls


def test_time_limit_is_the_smallest_for_fast_jobs(session):
    assert session.timeout_ms == 35


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("init 0 return 3", "no-device"),
        ("init 0 return 4", "device-error"),
        ("load_graph 0 return 8", "bad-graph"),
        ("load_graph 0 return 0xA", "other-target"),
        ("load_graph 0 return 0xC", "bad-graph"),
        ("descriptor 1 size 31", "manifest-mismatch"),
        ("finish * corrupt", "vector-mismatch"),
        ("finish * exception", "exception"),
        ("finish 0 never", "time-out"),
        ("init 0 die", "engine-died"),
    ],
)
def test_start_that_fails_has_a_reason_and_leaves_nothing(runtime, double, package, line, reason):
    double.script(line)
    with pytest.raises(RuntimeFailure) as caught:
        runtime.open(package)
    assert caught.value.reason == reason
    assert len(str(caught.value).splitlines()) == 1
    if reason not in ("engine-died", "time-out"):
        assert [double.live(what) for what in ("contexts", "graphs", "jobs")] == [0, 0, 0]


def test_longer_descriptors_of_another_release(runtime, double, package):
    double.script("descriptor * wide")
    session = runtime.open(package)
    check_step(session)
    session.close()


def test_exception_is_retried_once_on_a_fresh_job(session, double):
    double.next("finish", "exception")
    check_step(session)
    assert session.statistics.retries == 1
    assert double.calls("create") == 2


@pytest.mark.parametrize(
    ("action", "reason"), [("exception", "exception"), ("error 0x380", "graph-error")]
)
def test_exception_twice_fails_the_step_and_keeps_the_session(session, double, action, reason):
    double.script(f"finish * {action}")
    failure = failing_step(session)
    assert (failure.reason, failure.session_usable) == (reason, True)
    assert session.recovery() is Recovery.READY
    double.script()
    check_step(session)


def test_late_job_is_collected_and_its_result_not_used(session, double):
    double.next("finish", "late 300")
    failure = failing_step(session)
    assert (failure.reason, failure.session_usable) == ("time-out", True)
    assert session.recovery() is Recovery.PENDING
    wait_for(lambda: session.recovery() is Recovery.READY)
    check_step(session, seed=9)
    assert (double.calls("create"), double.calls("clean")) == (1, 0)


def test_job_that_never_ends_is_neither_cleaned_nor_replaced(session, double):
    double.next("finish", "never")
    assert failing_step(session).reason == "time-out"
    wait_for(lambda: session.recovery() is not Recovery.PENDING)
    assert session.recovery() is Recovery.LOST
    session.abandon()
    assert (double.calls("create"), double.calls("clean"), double.calls("unload")) == (1, 0, 0)


def test_closing_does_not_wait_for_a_job_that_never_ends(session, double):
    double.next("finish", "never")
    failing_step(session)
    session.close()
    assert double.calls("clean") == 0


def test_job_reported_abnormal_that_comes_in_is_used(session, double):
    double.next("finish", "return 4")
    check_step(session)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("return 0x37", "suspended"),
        ("return 0x14", "engine-fault"),
        ("die", "engine-died"),
        ("hang", "engine-silent"),
    ],
)
def test_faults_that_need_another_engine(session, double, action, reason):
    double.next("finish", action)
    failure = failing_step(session)
    assert (failure.reason, failure.session_usable) == (reason, False)
    session.abandon()


def test_write_behind_a_tensor_is_seen(session, double):
    double.next("get_tensor", "overrun")
    assert failing_step(session).reason == "engine-fault"


def test_killed_engine(session):
    os.kill(session.pid, signal.SIGKILL)
    assert failing_step(session).reason == "engine-died"


def test_signals_do_not_reach_the_waiting_thread(session, double):
    double.next("finish", "late 20")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1):
        os.kill(session.pid, number)
    check_step(session)
    assert double.calls("status") == 0


def test_graph_with_other_scales_is_converted(runtime, double, package):
    half = [replace(s, scale=2 * s.scale, zero_point=0) for s in (STATE_IN, STATE_OUT)]
    compile_for_double(package, (package.inputs[0], half[0]), (SCORE, half[1]), tolerance=127)
    session = runtime.open(package)
    inputs = random_inputs(3)
    outputs = session.step(inputs)
    stored = requantise(inputs["s0_in"], STATE_IN, half[0]) + np.int8(2)
    np.testing.assert_array_equal(outputs["s0_out"], requantise(stored, half[1], STATE_OUT))
    session.close()


def test_requantise_saturates_and_rounds():
    coarse = replace(STATE_IN, scale=0.1, zero_point=5)
    values = np.array([-128, -3, 0, 127], np.int8)
    np.testing.assert_array_equal(requantise(values, STATE_IN, coarse), [-57, 5, 7, 70])
    np.testing.assert_array_equal(requantise(values, coarse, STATE_IN), [-128, -19, -13, 127])


def test_engine_is_small_and_prints_nothing(runtime, double, package, capfd):
    session = runtime.open(package)
    maps = Path(f"/proc/{session.pid}/maps").read_text()
    assert "site-packages/numpy" not in maps
    assert double.library.name in maps
    assert double.library.name not in Path("/proc/self/maps").read_text()
    session.close()
    assert capfd.readouterr().out == ""


def test_engine_ends_with_its_parent(double, package, tmp_path):
    """The parent is killed in the middle; the engine closes the device and goes."""
    code = f"""
import sys, time
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from dataclasses import replace
from pathlib import Path
from aipu_double.fixtures import NODE
from aipu_double.packages import affine_package
from kwsd.runtime.aipu.runtime import AipuRuntime, AipuSettings
session = AipuRuntime(AipuSettings(NODE, Path({str(double.library)!r}))).open(
    affine_package(Path({str(tmp_path / "again")!r})))
print(session.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: double.calls("deinit") == 1)
    wait_for(lambda: not _runs(pid))
    assert not children_after()


def _runs(pid):
    try:
        return (
            "(python" in Path(f"/proc/{pid}/stat").read_text()
            and " Z " not in Path(f"/proc/{pid}/stat").read_text()
        )
    except (FileNotFoundError, ProcessLookupError):
        return False
