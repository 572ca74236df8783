"""Pre-roll: the last seconds of the voice branch, so that a recogniser gets the first word too."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.errors import UsageError

NAMED_WAKES = 16
"""Wakes whose onset is remembered."""

LONGEST_FETCH_SAMPLES = 2 * SAMPLE_RATE_HZ
"""One answer holds no more than this; the rest is fetched next."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A stretch of the voice branch."""

    first_sample: int
    """Stream position of its first sample."""

    pcm: bytes
    """Signed 16-bit little-endian, 16 kHz, mono."""

    lost_samples: int
    """What was asked for but is no longer there (before) or never was (a gap)."""

    @property
    def next_sample(self) -> int:
        """Where to go on."""
        return self.first_sample + len(self.pcm) // 2


class PreRoll:
    """A tap of the chain that keeps the voice branch.

    Parameters
    ----------
    seconds : float
        How much, above 0; a sample at least is kept.
    """

    def __init__(self, seconds: float) -> None:
        self._ring = np.zeros(max(1, round(seconds * SAMPLE_RATE_HZ)), "<i2")
        self._end: int | None = None
        self._since = 0
        self._onsets: OrderedDict[str, int] = OrderedDict()

    def frame(self, frame: FrontEndFrame) -> None:
        """Keep its voice branch."""
        start = frame.start_sample - frame.delays.voice_samples
        if self._end is None or start != self._end:
            # Behind a gap positions jump: what is older cannot be joined to what is new.
            self._since = start
        self._end = start + len(frame.voice)
        fresh = frame.voice[-len(self._ring) :] * np.float32(32767.0)
        np.rint(fresh, out=fresh)
        np.maximum(fresh, -32768.0, out=fresh)
        np.minimum(fresh, 32767.0, out=fresh)
        at = (self._end - len(fresh)) % len(self._ring)
        first = min(len(fresh), len(self._ring) - at)
        self._ring[at : at + first] = fresh[:first]
        self._ring[: len(fresh) - first] = fresh[first:]

    def forget(self) -> None:
        """Nobody may fetch any more what was said so far; positions go on."""
        self._ring[:] = 0
        self._since = self._end or 0
        self._onsets.clear()

    def score(self, keyword: str, end_sample: int, smoothed: float) -> None:
        """Scores are of no concern here."""

    def name(self, wake: str, onset_sample: int) -> None:
        """Remember where the word of a wake begins."""
        self._onsets[wake] = onset_sample
        while len(self._onsets) > NAMED_WAKES:
            self._onsets.popitem(last=False)

    def fetch(self, wake: str | None, from_sample: int | None) -> Excerpt:
        """What is there from the onset of a wake, or from a position, up to now.

        Raises
        ------
        UsageError
            The wake is not known (any more), or neither is given.
        """
        if from_sample is None:
            if wake is None or wake not in self._onsets:
                raise UsageError(
                    f"id {wake!r} is not known: the last {NAMED_WAKES} wakes are; "
                    "or give from_sample"
                )
            from_sample = self._onsets[wake]
        if self._end is None:
            # Nothing came yet: whoever fetched from another one before this asks again from there.
            return Excerpt(from_sample, b"", 0)
        oldest = max(self._since, self._end - len(self._ring))
        first = min(max(from_sample, oldest), self._end)
        count = min(self._end - first, LONGEST_FETCH_SAMPLES)
        at = np.arange(first, first + count) % len(self._ring)
        return Excerpt(first, self._ring[at].tobytes(), max(0, first - from_sample))
