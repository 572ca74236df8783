"""SIGTERM as an exception, so that what is unfinished is put away as after an interrupt."""

from __future__ import annotations

import signal
from types import FrameType

EX_INTERRUPTED = 128 + signal.SIGINT
EX_TERMINATED = 128 + signal.SIGTERM


class Terminated(BaseException):
    """SIGTERM arrived; raised like an interrupt, so that unfinished files are removed."""


def raise_on_terminate() -> None:
    """From now on SIGTERM raises `Terminated` in the main thread."""
    signal.signal(signal.SIGTERM, _on_terminate)


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
