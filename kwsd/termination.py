"""SIGTERM as an exception, so that what is unfinished is put away as after an interrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EX_INTERRUPTED = 128 + signal.SIGINT
EX_TERMINATED = 128 + signal.SIGTERM


class Terminated(BaseException):
    """SIGTERM arrived; raised like an interrupt, so that unfinished files are removed."""


def raise_on_terminate() -> None:
    """From now on SIGTERM raises `Terminated` in the main thread."""
    signal.signal(signal.SIGTERM, _on_terminate)


@contextmanager
def held_back() -> Iterator[None]:
    """Raise what SIGINT and SIGTERM raise behind this block, not within it.

    Around what must not be left half done, and around what swallows exceptions, where a signal
    would be lost: callbacks of a fork, and a Python file that a library in C writes to.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # What ends the process or is ignored raises nothing.
    raising = {number: handler for number, handler in before.items() if callable(handler)}
    for number in raising:
        signal.signal(number, lambda got, frame: came.append(got))
    try:
        yield
    finally:
        for number, handler in raising.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
