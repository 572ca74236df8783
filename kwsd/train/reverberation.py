"""Reverberation on mel power: a room of its own for every window, by a first-order filter.

Behind the direct sound, the energy of a room decays exponentially (Polack's model: Jot, Cerveau and
Warusfel, AES 1997), so in bands of mel power a room is a sum of the sound and of its own running
mean. What a convolution would add, interference that differs from frame to frame and band to band,
is drawn. Copies that were convolved with impulse responses are few; a network learns them by heart
and takes other speech in other rooms for its word (docs/benchmarks/training_trials.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.features import BANDS, HOP_SAMPLES, SAMPLE_RATE_HZ
from kwsd.train.listen import LogPower
from kwsd.train.ripples import Ripples

FloatArray = NDArray[np.float32]

RT60_RANGE_S = (0.15, 0.8)
"""Drawn evenly on a log scale."""

DIRECT_RANGE_DB = (-6.0, 10.0)
"""Direct sound to all that follows it. Of a talker 1 to 3 m away some -4 to 3 dB."""

HIGHEST_BAND_SHARE = (0.5, 1.0)
"""Air and furniture take high sounds first: reverberation time of the last band to the first."""

STRETCH_FRAMES = 2000
"""Of a long stream, in one room."""

STRETCHES_AT_ONCE = 32
_HOP_S = HOP_SAMPLES / SAMPLE_RATE_HZ
_LOG_60_DB = 6.0 * np.log(10.0)


def reverberated(rng: np.random.Generator, power: FloatArray, ripples: Ripples) -> FloatArray:
    """Each of some windows in another room.

    Parameters
    ----------
    rng : Generator
        Of the draws.
    power : ndarray, float32 [windows, frames, BANDS]
        Mel power.
    ripples : Ripples
        Of the interference.

    Returns
    -------
    ndarray, float32 [windows, frames, BANDS]
        As loud as before, in a long mean.
    """
    windows = len(power)
    shortest, longest = np.log(RT60_RANGE_S)
    rt60_s = np.exp(rng.uniform(shortest, longest, windows))
    shares = np.linspace(1.0, rng.uniform(*HIGHEST_BAND_SHARE, windows), BANDS, axis=1)
    decay = np.exp(-_LOG_60_DB * _HOP_S / (rt60_s[:, None] * shares)).astype(np.float32)
    late = 10.0 ** (-rng.uniform(*DIRECT_RANGE_DB, windows) / 10.0)
    late_share = (late / (1.0 + late)).astype(np.float32)[:, None, None]
    tail = np.empty_like(power)
    state = np.zeros_like(power[:, 0])
    for frame in range(power.shape[1]):
        # A frame's first reflections fall into it.
        state += (1.0 - decay) * (power[:, frame] - state)
        tail[:, frame] = state
    for window in tail:
        window *= ripples.draw(rng, window.shape)
    return (1.0 - late_share) * power + late_share * tail


def stream_in_rooms(rng: np.random.Generator, stream: LogPower, ripples: Ripples) -> LogPower:
    """A long stream, each `STRETCH_FRAMES` of it in another room.

    Parameters
    ----------
    rng : Generator
        Of the draws.
    stream : ndarray, float16 [frames, BANDS]
        Log mel power.
    ripples : Ripples
        As above.

    Returns
    -------
    ndarray, float16 [frames, BANDS]
        Log mel power.
    """
    whole = len(stream) // STRETCH_FRAMES * STRETCH_FRAMES
    stretches = stream[:whole].reshape(-1, STRETCH_FRAMES, BANDS)
    groups = [
        stretches[first : first + STRETCHES_AT_ONCE]
        for first in range(0, len(stretches), STRETCHES_AT_ONCE)
    ]
    if whole < len(stream):
        groups.append(stream[None, whole:])
    heard = [
        np.log(reverberated(rng, np.exp(group.astype(np.float32)), ripples)).astype(np.float16)
        for group in groups
    ]
    return np.concatenate([group.reshape(-1, BANDS) for group in heard] or [stream])
