"""Raw ring: the last seconds of every channel as the device gave them, while somebody listens.

What `kwsctl record` and `kwsctl doctor` fetch. It takes memory only from the first request on and
forgets all when nobody has asked for a while, so a service that is not recorded pays nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from kwsd.block import FloatArray

LENGTH_S = 4.0
"""How late a listener may ask without a loss."""

FORGET_AFTER_S = 6.0
LONGEST_FETCH_S = 1.0
"""One answer holds no more than this; the rest is fetched next."""


@dataclass(frozen=True, slots=True)
class RawExcerpt:
    """A stretch of raw audio."""

    first_frame: int
    """Position of its first frame; counts what the device delivered."""

    next_frame: int
    """Where to go on."""

    lost_frames: int
    """What was asked for but is no longer there."""

    holes: int
    """Times that audio was missing before or within the stretch, since the ring was opened."""

    samples: FloatArray
    """float32 [frames, channels], full scale 1.0."""


class RawRing:
    """Keeps raw audio while it is asked for.

    Parameters
    ----------
    rate_hz, channels : int
        Of the device.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.token = os.urandom(4).hex()
        """Tells this ring from that of another input."""

        self._rate_hz = rate_hz
        self._length = round(LENGTH_S * rate_hz)
        self._channels = channels
        self._ring: FloatArray | None = None
        self._end = self._since = 0
        self._unasked_frames = 0
        self._holes = 0

    @property
    def is_open(self) -> bool:
        """Whether audio is kept."""
        return self._ring is not None

    def push(self, samples: FloatArray, gap: bool = False) -> None:
        """Take float32 [frames, channels]; `gap`: audio is missing before it."""
        if self._ring is None:
            return
        if self._unasked_frames >= FORGET_AFTER_S * self._rate_hz:
            self.close()
            return
        self._holes += gap
        self._unasked_frames += len(samples)
        self._end += len(samples)
        fresh = samples[-self._length :]
        at = (self._end - len(fresh)) % self._length
        first = min(len(fresh), self._length - at)
        self._ring[at : at + first] = fresh[:first]
        self._ring[: len(fresh) - first] = fresh[first:]

    def fetch(self, from_frame: int | None) -> RawExcerpt:
        """What came from a position on; None opens the ring and gives where it is now."""
        if self._ring is None:
            self._ring = np.zeros((self._length, self._channels), np.float32)
            self._since, self._holes = self._end, 0
        self._unasked_frames = 0
        asked = self._end if from_frame is None else from_frame
        oldest = max(self._since, self._end - self._length)
        first = min(max(asked, oldest), self._end)
        count = min(self._end - first, round(LONGEST_FETCH_S * self._rate_hz))
        at = np.arange(first, first + count) % self._length
        return RawExcerpt(first, first + count, max(0, first - asked), self._holes, self._ring[at])

    def close(self) -> None:
        """Forget all; positions go on."""
        self._ring = None
