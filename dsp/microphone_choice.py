"""Which microphone the branches listen to: the first, unless it is dead or clipping.

A microphone is dead when its raw samples do not change at all, as an unplugged or muted converter
gives; even a quiet room moves the lowest bit of a live one. The preference is fixed, so that the
signal is free of switching; `interference.py` combines both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

CLIP_LEVEL = 0.999
"""A sample at or above this magnitude is clipped."""

DEAD_BLOCKS = 16
"""Blocks of 16 ms without change that make a microphone dead: 256 ms."""

CLIPPED_SHARE = 0.01
"""Share of clipped samples, averaged over half a second, that makes a microphone unusable."""

CLIP_SMOOTHING = 0.03
RETURN_BLOCKS = 64
"""The first microphone must be good for this long before it is used again: 1 s."""


class MicrophoneChoice:
    """Choice between microphones, one block at a time."""

    def __init__(self, microphones: int) -> None:
        self._microphones = microphones
        self.reset()

    def reset(self) -> None:
        """All microphones are good, the first is used."""
        self._still = np.zeros(self._microphones, np.int64)
        self._clipped = np.zeros(self._microphones)
        self._good_blocks = RETURN_BLOCKS
        self.good = (True,) * self._microphones
        """Whether each microphone is neither dead nor clipping."""

        self.used = 0

    @property
    def dead(self) -> tuple[bool, ...]:
        """Whether each microphone gives nothing."""
        return tuple(bool(count >= DEAD_BLOCKS) for count in self._still)

    def update(self, mics: FloatArray) -> int:
        """Take raw float32 [microphones, n]; gives the microphone to use."""
        still = mics.max(axis=1) == mics.min(axis=1)
        self._still = np.where(still, self._still + 1, 0)
        clipped = (np.abs(mics) >= CLIP_LEVEL).mean(axis=1)
        self._clipped += CLIP_SMOOTHING * (clipped - self._clipped)
        good = (self._still < DEAD_BLOCKS) & (self._clipped < CLIPPED_SHARE)
        self.good = tuple(bool(fit) for fit in good)
        self._good_blocks = self._good_blocks + 1 if good[0] else 0
        if self._microphones == 1 or self._good_blocks >= RETURN_BLOCKS:
            self.used = 0
        elif not good[0] and good[1]:
            self.used = 1
        elif self.used == 1 and not good[1]:
            self.used = 0
        return self.used
