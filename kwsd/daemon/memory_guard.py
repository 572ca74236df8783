"""Memory guard: notices that those who are connected fill the memory.

libzmq keeps all parts of a message until its last one came, and each subscription as long as its
connection lasts; it has a limit for neither. Two bytes on the wire cost sixty in memory, so whoever
may connect could end the daemon by `MemoryMax` within seconds. Nothing else that runs here grows by
as much, so what has grown is taken from all that are connected: they connect again by themselves.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable

GROWTH_BYTES = 96 << 20
"""More than a thousand subscribers with full queues take (docs/benchmarks/service.md)."""

LOOK_EVERY_S = 0.25
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory of this process."""
    with open("/proc/self/statm", "rb") as table:
        return int(table.read().split()[1]) * _PAGE_BYTES


def give_back() -> None:
    """To the system what was freed, where the C library keeps it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryGuard:
    """Watches the memory of this process.

    Parameters
    ----------
    resident : callable
        How much it has, in bytes.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        resident: Callable[[], int] = resident_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resident = resident
        self._clock = clock
        self._look_at_s = clock()
        self._usual = 0

    def settle(self) -> None:
        """What there is now is meant to be: at the start and after a change of what runs."""
        self._usual = self._resident()

    def growth_bytes(self) -> int:
        """By how much the memory has grown where that is too much, else 0; to be asked often."""
        now_s = self._clock()
        if now_s < self._look_at_s:
            return 0
        self._look_at_s = now_s + LOOK_EVERY_S
        resident = self._resident()
        # What a start or a reload needed for a moment is not usual.
        self._usual = min(self._usual, resident)
        growth = resident - self._usual
        return growth if growth > GROWTH_BYTES else 0
