"""What the echo canceller leaves of the device's own playback, for training to know it.

Music and speech are played through simulated rooms and a loudspeaker that distorts, and
cancelled by the front end itself; pieces start anew, so early and late convergence are both in
the pool.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.train.copies import reverberant
from kwsd.train.listen import LogPower, detector_branch, log_power
from kwsd.train.rooms import Room

FloatArray = NDArray[np.float32]

PIECE_SECONDS = 15.0
LONGEST_DELAY_MS = 120


def _played(pcm: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Loudspeaker: soft clipping of random hardness."""
    drive = float(np.exp(rng.uniform(np.log(0.3), np.log(3.0)))) / max(
        float(np.abs(pcm).max()), 1e-4
    )
    return np.asarray(np.tanh(drive * pcm) / drive, dtype=np.float32)


def residue_piece(
    music: Sequence[FloatArray], rooms: Sequence[Room], rng: np.random.Generator
) -> LogPower:
    """Residue of one piece, as log mel power of the detector branch."""
    samples = int(PIECE_SECONDS * SAMPLE_RATE_HZ)
    source = music[int(rng.integers(len(music)))]
    start = int(rng.integers(max(1, len(source) - samples)))
    reference = np.resize(source[start : start + samples], samples).astype(np.float32)
    reference = reference * np.float32(0.3 / max(float(np.abs(reference).max()), 1e-4))
    room = rooms[int(rng.integers(len(rooms)))]
    echo = reverberant(_played(reference, rng), room.loudspeaker)
    delay = int(rng.integers(LONGEST_DELAY_MS * SAMPLE_RATE_HZ // 1000))
    echo = np.concatenate([np.zeros(delay, np.float32), echo])[:samples]
    noise = rng.standard_normal(samples) * 10 ** rng.uniform(-4.5, -3.0)
    return log_power(detector_branch((echo + noise).astype(np.float32), reference))
