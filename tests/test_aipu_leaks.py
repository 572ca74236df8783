"""Engines killed and started again and again: no process, descriptor or memory stays behind.

The long run: ``pytest -m slow tests/test_aipu_leaks.py``; KWSD_AIPU_CYCLES sets its length, ten
thousand unless it says otherwise.
"""

import gc
import os
import signal
from pathlib import Path

import pytest
from aipu_double.leaks import children, children_after, open_descriptors
from aipu_double.packages import AffineSession, random_inputs

from kwsd.runtime.failover import FailoverSession

pytest_plugins = ("aipu_double.fixtures",)


class Clock:
    """A quarter of an hour a look: every restart is due at once, every fault the first."""

    def __init__(self):
        self._now_s = 0.0

    def __call__(self):
        self._now_s += 900.0
        return self._now_s


def resident_kilobytes():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def held():
    gc.collect()
    # Memory with a name, by kwsd or by multiprocessing; other programs have theirs there, too.
    named = [name for name in os.listdir("/dev/shm") if name.startswith(("kwsd", "psm_"))]
    return open_descriptors(), children(), sorted(named)


def cycles(count, runtime, package):
    """Kill the engine and let it be started again; gives resident memory before and after."""
    changes = []
    session = FailoverSession(
        package, runtime, AffineSession(), "cpu", changes.append, clock=Clock()
    )
    descriptors, _, shared = held()
    kilobytes = None
    for cycle in range(count):
        if cycle == min(20, count // 2):
            kilobytes = resident_kilobytes()
        os.kill(session.active.pid, signal.SIGKILL)
        while session.active is not None:
            session.step(random_inputs())
        while session.active is None:
            session.step(random_inputs())
            if session._restart is not None:
                session._restart._thread.join()
        assert len(children()) <= 2, cycle  # The killed one may just be going.
        if cycle % 100 == 0:
            now = held()
            assert (now[0], now[2]) == (descriptors, shared), cycle
    now = held()
    assert (now[0], now[2]) == (descriptors, shared)
    session.close()
    assert not children_after()
    assert sum(change.reason == "recovered" for change in changes) == count
    return kilobytes, resident_kilobytes()


@pytest.mark.usefixtures("no_leaks")
def test_some_cycles(runtime, package):
    cycles(5, runtime, package)


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_many_cycles(runtime, package, caplog):
    caplog.set_level("ERROR")  # Two kept lines a cycle would look like a leak.
    before, after = cycles(int(os.environ.get("KWSD_AIPU_CYCLES", "10000")), runtime, package)
    assert after - before < 4096
