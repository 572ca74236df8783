"""Result: what an evaluation heard, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.evaluate.curve import Curve, Point, first_crossing


@dataclass(frozen=True)
class Heard:
    """A positive recording after the chain."""

    path: Path
    """The file."""

    speaker: str
    """Who speaks; empty if unknown."""

    score: float
    """Highest smoothed score from the start of the word on."""

    rise: tuple[tuple[int, float], ...]
    """(samples after the end of the word, score) wherever the score reached a new height."""

    woke: frozenset[str]
    """Sensitivities at which the daemon's decision wakes."""

    def latency_ms(self, threshold: float) -> float | None:
        """From the end of the word to the threshold; None for a miss, below 0 within the word."""
        after = np.array([step[0] for step in self.rise], np.int64)
        heights = np.array([step[1] for step in self.rise], np.float64)
        first = np.iinfo(np.int64).min
        crossing = first_crossing(after, heights, first, threshold)
        return None if crossing is None else crossing * 1000.0 / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Peak:
    """A place in a negative recording where the score rose."""

    path: Path
    """The file."""

    time_s: float
    """Time in it."""

    score: float
    """Height of the peak."""


@dataclass(frozen=True)
class Result:
    """Everything that was heard."""

    heard: tuple[Heard, ...]
    """Positives that could be used, all of them once a draw."""

    peaks: tuple[Peak, ...]
    """Peaks of the negatives, the highest first."""

    wakes: dict[str, int]
    """False wakes of the daemon's decision at each sensitivity."""

    hours: float
    """Length of the negatives that could be used."""

    skipped: tuple[str, ...]
    """Recordings left out, with the reason."""

    draws: int = 1
    """How often each positive was heard, each time in other surroundings."""

    @property
    def recordings(self) -> int:
        """Positives that could be used."""
        return len(self.heard) // self.draws

    @property
    def said_by(self) -> str:
        """Who says the positives, counted: ``3 speakers``; empty where nobody is named."""
        named = {heard.speaker for heard in self.heard} - {""}
        if not named:
            return ""
        people = "speaker" if len(named) == 1 else "speakers"
        if all(heard.speaker for heard in self.heard):
            return f"{len(named)} {people}"
        return f"{len(named)} named {people} and others"

    @property
    def curve(self) -> Curve:
        """Misses against false accepts."""
        positives, negatives = [h.score for h in self.heard], [p.score for p in self.peaks]
        return Curve(positives, negatives, self.hours, self.draws)

    def point(self, sensitivity: str, threshold: float) -> Point:
        """What the daemon's own decision does at one of the package's sensitivities."""
        misses = sum(sensitivity not in h.woke for h in self.heard)
        wakes = self.wakes.get(sensitivity, 0)
        return Point(threshold, misses, len(self.heard), wakes, self.hours, self.draws)

    def latencies_ms(self, threshold: float) -> list[float]:
        """Of every positive that reaches the threshold."""
        found = (h.latency_ms(threshold) for h in self.heard)
        return [latency for latency in found if latency is not None]
