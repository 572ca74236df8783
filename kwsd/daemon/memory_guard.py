"""Memory guard: notices that those who are connected fill the memory.

libzmq keeps all parts of a message until its last one came, and each subscription as long as its
connection lasts; it has a limit for neither. Two bytes on the wire cost sixty in memory, so whoever
may connect could end the daemon by `MemoryMax` within seconds. Nothing else that runs here grows by
as much, so what has grown is taken from all that are connected; subscribers connect again by
themselves.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

GROWTH_BYTES = 72 << 20
"""More than a thousand subscribers with full queues take; with what comes in between two passes of
the loop it stays below the unit's `MemoryMax` (docs/benchmarks/service.md)."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory of this process; 0 where that cannot be read, as without a free file."""
    try:
        with open("/proc/self/statm", "rb") as table:
            return int(table.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


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
    """

    def __init__(self, resident: Callable[[], int] = resident_bytes) -> None:
        self._resident = resident
        self._usual = 0

    def settle(self) -> None:
        """What there is now is needed: at the start, and where nobody is connected.

        Never after a reload, which would let whoever asks for one keep what he holds; one that
        needs so much more costs the connections once.
        """
        self._usual = self._resident()

    def growth_bytes(self) -> int:
        """By how much the memory has grown where that is too much, else 0.

        Some microseconds: to be asked in every pass of the service's loop.
        """
        resident = self._resident()
        if not resident:
            return 0
        # What the start needed for a moment is not usual.
        self._usual = min(self._usual, resident)
        growth = resident - self._usual
        return growth if growth > GROWTH_BYTES else 0
