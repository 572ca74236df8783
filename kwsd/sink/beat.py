"""The beat of the bus: by it a subscriber tells a quiet kwsd from one that has gone."""

from __future__ import annotations

import time
from collections.abc import Callable

BEAT_S = 1.0


class Beat:
    """Says when the next beat is due.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_s = float("-inf")

    def due(self) -> bool:
        """True at first, and then once in `BEAT_S`; to be asked often."""
        now_s = self._clock()
        if now_s - self._last_s < BEAT_S:
            return False
        self._last_s = now_s
        return True
