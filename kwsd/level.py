"""Level: loudness of the detector branch on the hop grid, for the decision's level gate.

Absolute, before the features' gain control, so that the gain cannot turn silence into speech.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from kwsd.block import SAMPLE_RATE_HZ, FloatArray

HOP_SAMPLES = 160
WINDOW_SAMPLES = SAMPLE_RATE_HZ
"""The word may end before its score arrives: the gate looks back one second."""


class LevelTrack:
    """RMS of every 10 ms, and the loudest of the last second at any recent position.

    Parameters
    ----------
    start_sample : int
        Position of the first sample.
    """

    def __init__(self, start_sample: int = 0) -> None:
        self.reset(start_sample)

    def reset(self, start_sample: int) -> None:
        """Start again at a position."""
        self._position = start_sample
        self._held = np.zeros(0, np.float32)
        self._hops: deque[tuple[int, float]] = deque()
        # Of the hops that were asked for: each louder than all behind it, so the first is loudest.
        self._falling: deque[tuple[int, float]] = deque()

    def process(self, pcm: FloatArray) -> None:
        """Take the next samples, float32 [samples]."""
        held = np.concatenate([self._held, pcm])
        count = len(held) // HOP_SAMPLES
        hops = held[: count * HOP_SAMPLES].reshape(count, HOP_SAMPLES).astype(np.float64)
        for energy in np.add.reduce(np.square(hops), axis=1).tolist():
            self._position += HOP_SAMPLES
            self._hops.append((self._position, energy / HOP_SAMPLES))
        self._held = held[count * HOP_SAMPLES :].copy()

    def loudest_dbfs(self, end_sample: int) -> float:
        """Level in dBFS (RMS) of the loudest 10 ms of the second before a position.

        Positions must not fall from call to call; hops that no later call can need are dropped.
        """
        hops, falling = self._hops, self._falling
        while hops and hops[0][0] <= end_sample:
            hop = hops.popleft()
            while falling and falling[-1][1] <= hop[1]:
                falling.pop()
            falling.append(hop)
        while falling and falling[0][0] <= end_sample - WINDOW_SAMPLES:
            falling.popleft()
        power = falling[0][1] if falling else 0.0
        return 10.0 * math.log10(power) if power > 0.0 else float("-inf")
