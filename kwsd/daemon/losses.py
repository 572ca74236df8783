"""Losses: audio that was lost while the device was at work, said in the log, but not for each hole.

A machine that does not keep up loses some a second, and its state stays ``running`` all the while.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from kwsd.source.live import LiveCounters

log = logging.getLogger(__name__)

APART_S = 60.0
"""Shortest time between two lines."""


class Losses:
    """Looks at the counters of an input now and then.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told = LiveCounters()
        self._told_s = float("-inf")

    def look(self, counters: LiveCounters) -> None:
        """Say what was lost since it was said before, where that is long ago."""
        overruns = counters.overruns - self._told.overruns
        dropped = counters.dropped_periods - self._told.dropped_periods
        if overruns <= 0 and dropped <= 0:
            # Another input counts from 0.
            self._told = counters
            return
        now_s = self._clock()
        if now_s - self._told_s < APART_S:
            return
        self._told, self._told_s = counters, now_s
        log.warning(
            "audio is lost: %d overruns of the device, %d deliveries dropped; this machine does "
            "not keep up, or was stopped for a while",
            *(overruns, dropped),
        )
