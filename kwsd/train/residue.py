"""The device's own playback behind the echo canceller, for training to know what it leaves.

Music and speech are played through simulated rooms and a loudspeaker that distorts, and
cancelled by the front end itself: alone, and under speech, which disturbs the canceller.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.evaluate.noise import noise_gain
from kwsd.evaluate.rooms import Room
from kwsd.evaluate.surroundings import convolve, within_range
from kwsd.train.copies import Clip
from kwsd.train.listen import LogPower, detector_branch, log_power

FloatArray = NDArray[np.float32]

PIECE_SECONDS = 15.0
LONGEST_DELAY_MS = 120
ALONE_S = (1.0, 8.0)
"""How long the loudspeaker has played when somebody speaks: the canceller may still be adapting."""

KEPT_SAMPLES = SAMPLE_RATE_HZ // 2
"""Of the playback before the speech."""

SER_RANGE_DB = (-25.0, 0.0)
"""Speech-to-echo ratio at the microphone, loudest stretches compared as for noise."""


def _played(pcm: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Loudspeaker: soft clipping of random hardness."""
    drive = float(np.exp(rng.uniform(np.log(0.3), np.log(3.0)))) / max(
        float(np.abs(pcm).max()), 1e-4
    )
    return np.asarray(np.tanh(drive * pcm) / drive, dtype=np.float32)


def _playback(
    samples: int, music: Sequence[FloatArray], rooms: Sequence[Room], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """What is played, and its echo at the microphone."""
    source = music[int(rng.integers(len(music)))]
    start = int(rng.integers(max(1, len(source) - samples)))
    reference = np.resize(source[start : start + samples], samples).astype(np.float32)
    reference = reference * np.float32(0.3 / max(float(np.abs(reference).max()), 1e-4))
    room = rooms[int(rng.integers(len(rooms)))]
    echo = convolve(_played(reference, rng), room.loudspeaker)
    delay = int(rng.integers(LONGEST_DELAY_MS * SAMPLE_RATE_HZ // 1000))
    return reference, np.concatenate([np.zeros(delay, np.float32), echo])[:samples]


def _hiss(samples: int, rng: np.random.Generator) -> FloatArray:
    return (rng.standard_normal(samples) * 10 ** rng.uniform(-4.5, -3.0)).astype(np.float32)


def residue_piece(
    music: Sequence[FloatArray], rooms: Sequence[Room], rng: np.random.Generator
) -> LogPower:
    """Residue of one piece, as log mel power of the detector branch.

    The canceller starts anew, so that early and late convergence are both in the pool.
    """
    samples = int(PIECE_SECONDS * SAMPLE_RATE_HZ)
    reference, echo = _playback(samples, music, rooms, rng)
    return log_power(detector_branch(echo + _hiss(samples, rng), reference))


def over_playback(
    clip: Clip, music: Sequence[FloatArray], rooms: Sequence[Room], rng: np.random.Generator
) -> Clip:
    """Speech while the device plays, as the detector branch lets it through."""
    lead = int(rng.uniform(*ALONE_S) * SAMPLE_RATE_HZ)
    reference, echo = _playback(lead + len(clip.pcm), music, rooms, rng)
    echo *= np.float32(noise_gain(clip.pcm, echo, float(rng.uniform(*SER_RANGE_DB))))
    heard = within_range(np.pad(clip.pcm, (lead, 0)) + echo)
    kept = lead - KEPT_SAMPLES
    branch = detector_branch(heard + _hiss(len(heard), rng), reference)[kept:]
    return Clip(branch, clip.first + KEPT_SAMPLES, clip.last + KEPT_SAMPLES)
