"""Other voices from one: another tempo, vocal tract and articulation, on mel power.

Synthetic voices articulate alike. People say a consonant far louder, softer, brighter or duller
against the vowel beside it, and a network that never heard that misses them
(docs/benchmarks/models.md).
"""

from __future__ import annotations

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

ARTICULATION = (0.5, 0.7, 0.4)
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
    bands = np.clip(np.arange(BANDS) * np.exp(rng.uniform(*tract)), 0, BANDS - 1.001)
    low = bands.astype(int)
    share = (bands - low).astype(np.float32)
    return np.asarray(frames[:, low] * (1 - share) + frames[:, low + 1] * share, np.float32)


def rearticulated(rng: np.random.Generator, frames: FloatArray, strength: float) -> FloatArray:
    """Every sound louder or softer, brighter or duller than it was against the others.

    `strength` multiplies `ARTICULATION`.
    """
    knots = np.arange(0.0, len(frames) + 2 * SOUND_FRAMES, SOUND_FRAMES)
    knots -= rng.uniform(0, SOUND_FRAMES)
    spread = strength * np.array(ARTICULATION)
    drawn = rng.normal(0.0, 1.0, (len(spread), len(knots))) * spread[:, None]
    at = np.arange(len(frames))
    over_time = np.stack([np.interp(at, knots, curve) for curve in drawn], axis=1)
    return np.asarray(frames * np.exp(over_time @ _SHAPES), np.float32)
