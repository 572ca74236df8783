"""SIGTERM and SIGHUP as an exception: what is unfinished is put away as after an interrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

EX_INTERRUPTED = 128 + signal.SIGINT

_HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Terminated(BaseException):
    """A signal ends the program; raised like an interrupt, so that unfinished files are removed.

    Parameters
    ----------
    number : int
        Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number
        """What a shell says of a program that a signal ended."""


def raise_on_terminate(*others: signal.Signals) -> None:
    """From now on SIGTERM and the others that are named raise `Terminated` in the main thread."""
    for number in (signal.SIGTERM, *others):
        # Who starts a program with SIGHUP ignored (nohup) wants it to outlive the terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_terminate)


@contextmanager
def held_back() -> Iterator[Sequence[int]]:
    """Raise what SIGINT, SIGTERM and SIGHUP raise behind this block, not within it.

    Around what must not be left half done, and around what swallows exceptions, where a signal
    would be lost: callbacks of a fork, and a Python file that a library in C writes to.

    Yields
    ------
    sequence of int
        Numbers of the signals that wait, for a long block that ends itself when there is one.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # signals are the main thread's
        return
    before = {number: signal.getsignal(number) for number in _HELD}
    # What ends the process or is ignored raises nothing.
    raising = {number: handler for number, handler in before.items() if callable(handler)}
    for number in raising:
        signal.signal(number, lambda got, frame: came.append(got))
    try:
        yield came
    finally:
        for number, handler in raising.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)
