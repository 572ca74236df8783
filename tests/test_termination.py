"""SIGTERM as an exception, and signals that wait for the end of a block."""

import signal
import threading

import pytest

from kwsd.termination import Terminated, held_back, raise_on_terminate


@pytest.fixture
def terminates():
    """SIGTERM raises `Terminated`, and SIGINT interrupts even where a shell had it ignored."""
    before = signal.getsignal(signal.SIGTERM)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    raise_on_terminate()
    yield
    signal.signal(signal.SIGTERM, before)
    signal.signal(signal.SIGINT, interrupt)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
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


def test_a_quiet_block_leaves_the_handlers_as_they_were(terminates):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with held_back():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


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
