"""Whether the machine has slept: a processor that was given up may work again behind it."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST_S = 0.5
"""Less is no suspend: the two clocks are not read at the same moment."""


def slept_s() -> float:
    """How long the machine has slept since it was started; 0 where the system cannot say."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()


class Resume:
    """Notices that the machine has slept, by a clock that goes on meanwhile and one that does not.

    Parameters
    ----------
    slept : callable
        How long it has slept in all, in seconds.
    """

    def __init__(self, slept: Callable[[], float] = slept_s) -> None:
        self._slept = slept
        self._before_s = slept()

    def since_last_s(self) -> float:
        """How long it has slept since this was asked before; 0 if it has not."""
        now_s = self._slept()
        length_s = now_s - self._before_s
        if length_s < SHORTEST_S:
            return 0.0
        self._before_s = now_s
        return length_s
