"""Copies: one recording or rendering becomes many, each another talker in another place.

A copy is resampled (pitch, formants and tempo together) and put into a room. Some of the synthetic
ones pass a speech codec, because recordings that people send in have passed one: a network that
hears codec noise on recordings only would learn to tell by it which clips were never the phrase.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.evaluate.rooms import Room
from kwsd.evaluate.surroundings import convolve

FloatArray = NDArray[np.float32]

WET_SHARE = 0.6
"""Share of the copies that are in a room; the first of a clip never is."""

CODED_SHARE = 0.33
CODEC_LEVELS = (0.8, 0.96)
"""Compression levels of Opus: some 70 to 25 kbit/s for speech at 16 kHz."""

RESAMPLE_RANGE = (0.87, 1.15)
"""Resampling moves pitch, formants and tempo together."""

TAIL_SAMPLES = SAMPLE_RATE_HZ // 3
"""Silence behind a clip for its reverberation."""


@dataclass(frozen=True)
class Clip:
    """A recording or rendering, and where in it the speech is that matters."""

    pcm: FloatArray
    """float32 [samples]."""

    first: int
    """Sample in which the speech begins."""

    last: int
    """Sample in which it ends."""


def whole(pcm: FloatArray) -> Clip:
    """All of a signal as speech."""
    return Clip(pcm, 0, len(pcm))


def coded(pcm: FloatArray, level: float) -> FloatArray:
    """A signal through Opus at 16 kHz, same length."""
    stored = io.BytesIO()
    soundfile.write(
        stored, pcm, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS", compression_level=level
    )
    stored.seek(0)
    heard, _ = soundfile.read(stored, dtype="float32")
    return np.pad(heard, (0, max(0, len(pcm) - len(heard))))[: len(pcm)]


def vary(clip: Clip, rooms: Sequence[Room], wet: float, rng: np.random.Generator) -> Clip:
    """Another speaker-like copy, in a room with probability `wet`."""
    factor = float(np.exp(rng.uniform(*np.log(RESAMPLE_RANGE))))
    rate_hz = SAMPLE_RATE_HZ * factor
    pcm = np.asarray(
        soxr.resample(clip.pcm, rate_hz, SAMPLE_RATE_HZ, quality="MQ"), dtype=np.float32
    )
    pcm = np.pad(pcm, (0, TAIL_SAMPLES))
    if rooms and rng.random() < wet:
        pcm = convolve(pcm, rooms[int(rng.integers(len(rooms)))].talker)
    return Clip(pcm, int(clip.first / factor), int(clip.last / factor))


def synthetic_copy(clip: Clip, rooms: Sequence[Room], wet: float, rng: np.random.Generator) -> Clip:
    """As `vary`, some through a codec; levels differ, since a codec's noise depends on them."""
    copy = vary(clip, rooms, wet, rng)
    if rng.random() < CODED_SHARE:
        quieter = copy.pcm * np.float32(10.0 ** rng.uniform(-1.0, 0.0))
        copy = replace(copy, pcm=coded(quieter, rng.uniform(*CODEC_LEVELS)))
    return copy
