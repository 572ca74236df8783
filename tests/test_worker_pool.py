"""Processes of a pool: who ends whom, by which signal, and what of the work is kept."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile as sf
from processes import gone

from kwsd.errors import RuntimeUnavailable
from kwsd.worker_pool import worker_pool

DEADLINE_S = 30.0

OWNER = """
import multiprocessing, os, sys, time
from kwsd.termination import Terminated, raise_on_terminate
from kwsd.worker_pool import worker_pool

def start(folder):
    global out
    out = folder

def work(number):
    open(f"{out}/{os.getpid()}.worker", "w").close()
    time.sleep(0.2)
    open(f"{out}/{number}.done", "w").close()

if __name__ == "__main__":
    raise_on_terminate()
    method, folder, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        with worker_pool(2, start, (folder,), multiprocessing.get_context(method)) as pool:
            list(pool.map(work, range(jobs)))
    except Terminated:
        sys.exit(9)
"""


def until(what, seen):
    """Wait for a value that is true."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if value := seen():
            return value
        time.sleep(0.02)
    raise AssertionError(f"no {what} within {DEADLINE_S:.0f} s")


@pytest.fixture(params=["fork", "spawn"])
def owner(request, tmp_path):
    """A process with two workers that have begun a long list of jobs, and the workers."""
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    command = [sys.executable, script, request.param, tmp_path, "10000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        until("second worker", lambda: len(list(tmp_path.glob("*.worker"))) == 2)
        yield process, [int(path.stem) for path in tmp_path.glob("*.worker")]
    finally:
        process.kill()
        process.communicate()


def test_workers_end_with_a_parent_that_is_killed(owner):
    process, workers = owner
    assert not any(gone(worker, limit_s=0.1) for worker in workers)
    process.kill()
    assert all(map(gone, workers))


def test_a_terminated_parent_begins_no_job_that_waits(owner, tmp_path):
    process, workers = owner
    process.terminate()
    assert process.wait(DEADLINE_S) == 9
    assert all(map(gone, workers))
    # 10 000 jobs of 0.2 s on two processes take 17 minutes.
    assert len(list(tmp_path.glob("*.done"))) < 1000
    assert process.stderr.read() == ""


def test_an_interrupt_of_the_whole_terminal_is_the_parents_alone(owner):
    process, workers = owner
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(DEADLINE_S) != 0
    assert all(map(gone, workers))
    assert process.stderr.read().count("Traceback") == 1


INTERRUPTED_AT_A_LOCK = """
import signal, threading, time
from kwsd.worker_pool import worker_pool

acquire = threading.Condition.__enter__

def interrupted(condition):
    answer = acquire(condition)
    if threading.get_ident() == threading.main_thread().ident:
        threading.Condition.__enter__ = acquire
        signal.raise_signal(signal.SIGINT)
    return answer

def interrupt_next():
    threading.Condition.__enter__ = interrupted

if __name__ == "__main__":
    with worker_pool(2, int, ()) as pool:
        {}
        {}
        list(results)
"""


@pytest.mark.parametrize("early", [True, False], ids=["handed over", "fetched"])
def test_an_interrupt_at_a_lock_of_the_pool_does_not_hang_it(early):
    """Raised in `Condition.__enter__`, it leaves the lock behind, and the pool's thread waits."""
    steps = ["results = pool.map(time.sleep, [0.3] * 4)", "interrupt_next()"]
    script = INTERRUPTED_AT_A_LOCK.format(*(reversed(steps) if early else steps))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_results_keep_the_order_of_their_jobs():
    with worker_pool(2, int, ()) as pool:
        assert list(pool.map(_late_if_even, range(11), chunksize=2)) == list(range(11))
        assert list(pool.map(abs, [])) == []
        with pytest.raises(ZeroDivisionError):
            list(pool.map(_inverse, [1, 2, 0, 3]))
        assert list(pool.map(abs, iter([-1, -2]))) == [1, 2]


def _late_if_even(number):
    time.sleep(0.02 * (number % 2 == 0))
    return number


def _inverse(number):
    return 1 / number


def test_a_worker_that_is_killed_is_told():
    with (
        pytest.raises(RuntimeUnavailable, match="one of 2 processes ended early.*--workers"),
        worker_pool(2, time.sleep, (0,)) as pool,
    ):
        list(pool.map(signal.raise_signal, [signal.SIGKILL] * 4))


def lacking(what):
    raise RuntimeUnavailable(f"{what} is not installed")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_keeps_a_worker_from_starting_is_told(method, capfd):
    context = multiprocessing.get_context(method)
    with pytest.raises(RuntimeUnavailable, match="^espeak is not installed$"):
        with worker_pool(2, lacking, ("espeak",), context) as pool:
            list(pool.map(abs, range(3)))
    assert capfd.readouterr().err == ""


def test_a_terminated_kwsmodel_says_so_and_leaves_nothing(tone_model, tmp_path):
    rng = np.random.default_rng(1)
    for name, count, seconds in (("word", 6, 2), ("other", 30, 60)):
        (tmp_path / name).mkdir()
        for number in range(count):
            noise = 0.01 * rng.standard_normal(seconds * 16000)
            sf.write(tmp_path / name / f"{number}.wav", noise, 16000)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "kwsd.kwsmodel", "evaluate", tone_model, "--workers", "2"),
            *("--positives", tmp_path / "word", "--negatives", tmp_path / "other"),
            *("--scores", tmp_path / "scores.csv"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = f"/proc/{process.pid}/task/{process.pid}/children"

    def workers():
        with open(children) as file:
            pids = [int(word) for word in file.read().split()]
        return pids if len(pids) == 2 else None

    try:
        pids = until("second worker", workers)
        process.terminate()
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert err.splitlines()[-1] == "kwsmodel: terminated; the same command begins anew"
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "scores.csv").exists()
    assert all(map(gone, pids))
