"""Curve: from scores to misses against false accepts per hour. Pure functions, no audio.

A positive recording counts with its highest smoothed score; a negative one with the peaks of its
smoothed score, at least a refractory time apart. A threshold accepts what reaches it. The claim of
a rate stops where the hours of negatives end: a rate below one false accept in all of them is not
resolvable and is never stated, only bounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.evaluate.intervals import poisson_rate, poisson_upper, wilson

Array = NDArray[np.float64]
Samples = NDArray[np.int64]

LOWEST_PEAK = 0.02
"""Scores below this are no peaks; no threshold lies there."""

THRESHOLD_STEP = 1e-4


def smooth(scores: Array, steps: int) -> Array:
    """Moving average of the last `steps` scores; what has not been counts as 0.

    Parameters
    ----------
    scores : ndarray, float [n]
        Raw scores.
    steps : int
        Length of the average.

    Returns
    -------
    ndarray, float64 [n]
        What the decision compares with its threshold.
    """
    total = np.cumsum(np.concatenate([[0.0], np.asarray(scores, np.float64)]))
    start = np.maximum(np.arange(len(scores)) + 1 - steps, 0)
    return np.asarray((total[1:] - total[start]) / steps)


def peak_after(end_samples: Samples, smoothed: Array, onset_sample: int) -> float:
    """Highest smoothed score from the start of the word to the end of its stream, 0 if none."""
    part = smoothed[end_samples >= onset_sample]
    return float(part.max()) if len(part) else 0.0


def first_crossing(
    end_samples: Samples, smoothed: Array, onset_sample: int, threshold: float
) -> int | None:
    """Sample at which the threshold is first reached after the start of the word."""
    hits = np.flatnonzero((smoothed >= threshold) & (end_samples >= onset_sample))
    return int(end_samples[hits[0]]) if len(hits) else None


def peaks(end_samples: Samples, smoothed: Array, refractory_s: float) -> tuple[Samples, Array]:
    """Separate peaks of a negative stream, the highest first.

    Parameters
    ----------
    end_samples : ndarray, int64 [n]
        Rising stream positions.
    smoothed : ndarray, float64 [n]
        Smoothed scores.
    refractory_s : float
        Shortest time between two wakes of the daemon. A peak hides all lower scores this near,
        before and after it.

    Returns
    -------
    positions : ndarray, int64 [peaks]
    heights : ndarray, float64 [peaks]
        Not below `LOWEST_PEAK`, falling.
    """
    reach = round(refractory_s * SAMPLE_RATE_HZ)
    free = smoothed >= LOWEST_PEAK
    taken: list[int] = []
    # Stable, so that of equal scores the earliest is the peak.
    for index in np.argsort(-smoothed, kind="stable"):
        if smoothed[index] < LOWEST_PEAK:
            break
        if free[index]:
            taken.append(int(index))
            at = int(end_samples[index])
            low = int(np.searchsorted(end_samples, at - reach, side="right"))
            high = int(np.searchsorted(end_samples, at + reach, side="left"))
            free[low:high] = False
    return end_samples[taken], smoothed[taken]


def threshold_for(heights: Array, allowed: int) -> float:
    """Lowest threshold, in steps of 0.0001, that at most `allowed` peaks reach.

    Above 1 where more than `allowed` negatives saturate: no threshold does it.
    """
    falling = np.sort(np.asarray(heights, np.float64))[::-1]
    barrier = float(falling[allowed]) if allowed < len(falling) else LOWEST_PEAK
    # One step above the barrier, whatever side of it rounding falls on.
    step = math.floor(round(barrier / THRESHOLD_STEP, 6)) + 1
    return round(step * THRESHOLD_STEP, 4)


@dataclass(frozen=True)
class Point:
    """What one threshold does."""

    threshold: float
    """Smoothed score that accepts."""

    misses: int
    """Positives below it."""

    positives: int
    """Positives in all."""

    false_accepts: int
    """Negative peaks that reach it."""

    hours: float
    """Hours of negatives."""

    draws: int = 1
    """How often each positive recording was heard; `misses` and `positives` count every time."""

    @property
    def miss_rate(self) -> float:
        """Share of positives that is missed."""
        return self.misses / self.positives

    @property
    def miss_interval(self) -> tuple[float, float]:
        """Wilson 95 % interval of the miss rate.

        As if every recording had been heard once: what a speaker in a recording is missed for is
        the same each time. It is over recordings, not over people: a speaker who is missed is so
        more than once, so of few speakers it is too narrow.
        """
        return wilson(self.misses / self.draws, self.positives / self.draws)

    @property
    def rate(self) -> float:
        """False accepts per hour that were seen."""
        return self.false_accepts / self.hours

    @property
    def rate_interval(self) -> tuple[float, float]:
        """Exact 95 % interval of the rate."""
        return poisson_rate(self.false_accepts, self.hours)

    @property
    def claim(self) -> str:
        """The rate in words, not finer than the hours allow."""
        if self.false_accepts == 0:
            bound = poisson_upper(0, self.hours)
            return f"0 seen in {self.hours:.2f} h, 95 % upper bound {_short(bound)}/h"
        low, high = self.rate_interval
        return f"{_short(self.rate)}/h [{_short(low)}-{_short(high)}]"


def _short(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.2g}"


class Curve:
    """Highest score of every positive against the peaks of all negatives.

    Parameters
    ----------
    positives : sequence of float
        One score a recording and draw, at least one.
    negatives : sequence of float
        Heights of the peaks.
    hours : float
        Length of the negatives.
    draws : int
        How often each positive recording was heard.
    """

    def __init__(
        self,
        positives: Sequence[float] | Array,
        negatives: Sequence[float] | Array,
        hours: float,
        draws: int = 1,
    ) -> None:
        if len(positives) == 0 or hours <= 0:
            raise ValueError("a curve needs positives and hours of negatives")
        self.positives = np.sort(np.asarray(positives, np.float64))
        self.negatives = np.sort(np.asarray(negatives, np.float64))
        self.hours = hours
        self.draws = draws

    def at(self, threshold: float) -> Point:
        """Misses and false accepts of one threshold."""
        misses = int(np.searchsorted(self.positives, threshold, side="left"))
        accepts = len(self.negatives) - int(np.searchsorted(self.negatives, threshold, side="left"))
        return Point(threshold, misses, len(self.positives), accepts, self.hours, self.draws)

    def resolvable(self, rate_per_hour: float) -> bool:
        """True if the hours of negatives can show this rate: one event or more would be seen."""
        return rate_per_hour * self.hours >= 1.0 - 1e-9

    def at_rate(self, rate_per_hour: float) -> Point | None:
        """The lowest threshold that keeps to a rate, or None where the hours cannot show it."""
        if not self.resolvable(rate_per_hour):
            return None
        allowed = math.floor(rate_per_hour * self.hours + 1e-9)
        return self.at(threshold_for(self.negatives, allowed))

    def at_none_seen(self) -> Point:
        """The lowest threshold that no negative reaches."""
        return self.at(threshold_for(self.negatives, 0))

    def points(self) -> list[Point]:
        """Every threshold at which the number of false accepts changes, rates falling."""
        heights, _ = np.unique(self.negatives, return_counts=True)
        thresholds = sorted({threshold_for(np.array([h]), 0) for h in [LOWEST_PEAK, *heights]})
        return [self.at(threshold) for threshold in thresholds]
