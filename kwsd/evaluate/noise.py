"""Noise added to recordings at a stated ratio.

The ratio compares the loudest stretch of 128 ms of the recording with that of the noise, as in
Picovoice's wake-word benchmark; averaged over the recording it is therefore lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from kwsd.block import SAMPLE_RATE_HZ, FloatArray
from kwsd.errors import AudioError, UsageError
from kwsd.evaluate.recording import parts_of, read_part

RATIO_SAMPLES = 2048
_ATTEMPTS = 8
_KEPT_FILES = 8


def loudest_energy(pcm: FloatArray) -> float:
    """Energy of the loudest stretch of 2048 samples; a shorter signal is one stretch."""
    size = min(RATIO_SAMPLES, len(pcm))
    frames = pcm[: len(pcm) // size * size].reshape(-1, size).astype(np.float64)
    return float(np.square(frames).sum(axis=1).max())


def noise_gain(speech: FloatArray, noise: FloatArray, snr_db: float) -> float:
    """Factor for `noise` so that the loudest stretches stand `snr_db` apart; 0 for silent noise."""
    energy = loudest_energy(noise)
    if energy <= 0:
        return 0.0
    return float(np.sqrt(loudest_energy(speech) / (energy * 10.0 ** (snr_db / 10.0))))


class NoisePool:
    """Noise recordings, drawn from at random places.

    Parameters
    ----------
    paths : sequence of Path
        Noise recordings.
    snr_db : float
        Ratio, see the head of this file.
    """

    def __init__(self, paths: Sequence[Path], snr_db: float) -> None:
        self.paths = tuple(paths)
        self.snr_db = snr_db

    def draw(self, samples: int, rng: np.random.Generator) -> FloatArray:
        """A stretch of noise, float32 [samples]; a short recording goes round.

        Raises
        ------
        UsageError
            None of several tries found noise.
        """
        for _ in range(_ATTEMPTS):
            path = self.paths[int(rng.integers(len(self.paths)))]
            try:
                noise = _read_noise(path)
            except AudioError:
                continue
            start = int(rng.integers(len(noise)))
            stretch = np.take(noise, np.arange(start, start + samples), mode="wrap")
            if loudest_energy(stretch) > 0:
                return stretch
        raise UsageError(
            f"no sound in {_ATTEMPTS} of the noise recordings, {path} among them; name others"
        )

    def cover(
        self, speech: FloatArray, before: int, after: int, rng: np.random.Generator
    ) -> FloatArray:
        """Noise for a recording and for what lies before and after it.

        Parameters
        ----------
        speech : ndarray, float32 [samples]
            The recording.
        before, after : int
            Samples in front of and behind it.
        rng : numpy.random.Generator
            Source of every choice.

        Returns
        -------
        ndarray, float32 [before + samples + after]
            To be added.
        """
        noise = self.draw(before + len(speech) + after, rng)
        under = noise[before : before + len(speech)]
        gain = noise_gain(speech, under, self.snr_db)
        if gain == 0.0:
            gain = noise_gain(speech, noise, self.snr_db)
        return noise * np.float32(gain)


@lru_cache(maxsize=_KEPT_FILES)
def _read_noise(path: Path) -> FloatArray:
    return read_part(parts_of(path)[0])


def usable_noise(paths: Sequence[Path]) -> list[Path]:
    """Noise recordings that can be read.

    Raises
    ------
    AudioError
        None can.
    """
    usable = []
    for path in paths:
        try:
            part = parts_of(path)[0]
        except AudioError:
            continue
        if part.seconds * SAMPLE_RATE_HZ >= RATIO_SAMPLES:
            usable.append(path)
    if not usable:
        raise AudioError(f"none of the {len(paths)} noise recordings can be read")
    return usable
