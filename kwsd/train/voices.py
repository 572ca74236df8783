"""Other voices from one: another tempo, vocal tract and articulation, on mel power.

Synthetic voices articulate alike. People say a consonant far louder, softer, brighter or duller
against the vowel beside it, and a network that never heard that misses them
(docs/benchmarks/training_trials.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.features import BANDS

FloatArray = NDArray[np.float32]
Range = tuple[float, float]

LOCAL_TEMPO = 0.25
"""How far the log of the tempo departs from that of the whole on the way through a word."""

TEMPO_KNOTS = 4

SOUND_FRAMES = 6
"""From one sound to the next: articulation is drawn anew each 60 ms, and between them blended."""

SPREAD = (0.5, 0.7, 0.4)
"""Standard deviations of a sound's log power: of the whole, of its tilt (at either end of the
bands), and of the middle bands against both ends. 0.5 is 2.2 dB."""

_PLACES = np.linspace(-1.0, 1.0, BANDS)
_SHAPES = np.stack([np.ones(BANDS), _PLACES, np.cos(2 * np.pi * _PLACES)])


def retimed(
    rng: np.random.Generator, frames: FloatArray, first: int, end: int, tempo: Range
) -> tuple[FloatArray, int, int]:
    """Another tempo, and in the word one that changes; gives where the word is now, too.

    Parameters
    ----------
    rng : Generator
        Of the draws.
    frames : ndarray, float32 [frames, BANDS]
        Mel power.
    first, end : int
        Frames between which the word is.
    tempo : (float, float)
        Range of the log of the tempo.
    """
    knots = rng.uniform(*tempo) + rng.uniform(-LOCAL_TEMPO, LOCAL_TEMPO, TEMPO_KNOTS)
    places = np.linspace(first, max(end, first + 1), TEMPO_KNOTS)
    lengths = np.exp(-np.interp(np.arange(len(frames)), places, knots))
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    chosen = np.searchsorted(starts, np.arange(int(starts[-1])) + 0.5, side="right") - 1
    last = len(frames) - 1
    return (
        frames[np.clip(chosen, 0, last)],
        int(starts[min(first, last)]),
        int(starts[min(end, last + 1)]),
    )


def retracted(rng: np.random.Generator, frames: FloatArray, tract: Range) -> FloatArray:
    """Another length of the vocal tract: bands moved towards each other or apart.

    `tract` is the range of the log of that length.
    """
    return with_tract(frames, rng.uniform(*tract))


def with_tract(frames: FloatArray, log_length: float) -> FloatArray:
    """A tract that is longer by a given log of the ratio: formants lie lower."""
    bands = np.clip(np.arange(BANDS) * np.exp(log_length), 0, BANDS - 1.001)
    low = bands.astype(int)
    share = (bands - low).astype(np.float32)
    return np.asarray(frames[:, low] * (1 - share) + frames[:, low + 1] * share, np.float32)


def rearticulated(rng: np.random.Generator, frames: FloatArray, strength: float) -> FloatArray:
    """Every sound louder or softer, brighter or duller than it was against the others.

    `strength` multiplies `SPREAD`.
    """
    knots = np.arange(0.0, len(frames) + 2 * SOUND_FRAMES, SOUND_FRAMES)
    knots -= rng.uniform(0, SOUND_FRAMES)
    spread = strength * np.array(SPREAD)
    drawn = rng.normal(0.0, 1.0, (len(spread), len(knots))) * spread[:, None]
    at = np.arange(len(frames))
    over_time = np.stack([np.interp(at, knots, curve) for curve in drawn], axis=1)
    return np.asarray(frames * np.exp(over_time @ _SHAPES), np.float32)


@dataclass(frozen=True)
class Variety:
    """How far voices depart from one."""

    tempo: Range
    """Of the log of the tempo."""

    tract: Range
    """Of the log of the length of the vocal tract."""

    articulation: float = 0.0
    """Strength of `rearticulated`; at 0 nothing is drawn for it."""

    def voice(
        self, rng: np.random.Generator, frames: FloatArray, first: int, end: int
    ) -> tuple[FloatArray, int, int]:
        """A word as another voice says it, and where it begins and ends now; see `retimed`."""
        frames, first, end = retimed(rng, frames, first, end, self.tempo)
        frames = retracted(rng, frames, self.tract)
        if self.articulation:
            frames = rearticulated(rng, frames, self.articulation)
        return frames, first, end
