"""Signals as an exception, and signals that wait for the end of a block."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kwsd.termination import Terminated, held_back, raise_on_terminate

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def terminates():
    """SIGTERM and SIGHUP raise `Terminated`, SIGINT interrupts; even where all were ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise_on_terminate(signal.SIGHUP)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_exit_code_names_the_signal(terminates, number, code):
    with pytest.raises(Terminated) as ended:
        signal.raise_signal(number)
    assert ended.value.exit_code == code


def test_what_was_ignored_stays_ignored(terminates):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_on_terminate(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        (signal.SIGTERM, Terminated),
        (signal.SIGHUP, Terminated),
        (signal.SIGINT, KeyboardInterrupt),
    ],
)
def test_a_signal_waits_for_the_end_of_the_block(terminates, number, raised):
    reached = []
    with pytest.raises(raised):
        with held_back():
            signal.raise_signal(number)
            reached.append("end")
        reached.append("behind it")
    assert reached == ["end"]
    with pytest.raises(raised):
        signal.raise_signal(number)  # as before


def test_a_block_is_told_and_ended_by_the_first(terminates):
    with pytest.raises(Terminated) as ended:
        with held_back() as came:
            assert not came
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            assert list(came) == [signal.SIGTERM, signal.SIGHUP]
    assert ended.value.exit_code == 143


def test_a_quiet_block_leaves_the_handlers_as_they_were(terminates):
    before = [signal.getsignal(number) for number in NUMBERS]
    with held_back():
        pass
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_an_error_in_the_block_restores_them_too(terminates):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(OSError, match="no process"), held_back():
        raise OSError("no process")
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_have_no_signals_to_hold_back():
    done = []

    def inside():
        with held_back():
            done.append(True)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert done == [True]


PROGRAM_AND_SIGNAL = """
import signal
from kwsd.kwsctl import main

def test_a_program_runs_inside(tmp_path):
    assert main(["keygen", "bus", "--directory", str(tmp_path)]) == 0

def test_a_signal_comes_from_outside():
    signal.raise_signal(signal.SIGTERM)
"""


def test_tests_end_by_a_signal_though_a_program_ran_inside_one(tmp_path):
    tests = tmp_path / "test_inside.py"
    tests.write_text(PROGRAM_AND_SIGNAL)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "conftest", tests],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGTERM, done.stdout
