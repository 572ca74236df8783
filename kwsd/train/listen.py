"""Recordings as training hears them: read, resampled, through the detector branch, as mel power."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ, Block
from kwsd.dsp.backend import open_front_end
from kwsd.dsp.features import BANDS, FRAME_SAMPLES, mel_power
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.errors import AudioError
from kwsd.evaluate.recording import Part, check_scale, first_channel, parts_of

FloatArray = NDArray[np.float32]
LogPower = NDArray[np.float16]

STRETCH_S = 300.0
"""Longer recordings are worked on in stretches: five minutes take a process half a gigabyte."""

SILENT_DBFS = -65.0
"""A recording whose loudest 30 ms is below this holds nothing."""


def stretches(path: Path) -> list[Part] | list[Path]:
    """A recording in stretches that fit into memory; itself where its length cannot be told.

    Whoever hears it then says why.
    """
    try:
        return parts_of(path, STRETCH_S)
    except AudioError:
        return [path]


def known_length_s(sound: Path | Part) -> float:
    """Of what `stretches` gives, as far as it is known without reading it."""
    return sound.seconds if isinstance(sound, Part) else 0.0


def read_audio(sound: Path | Part) -> FloatArray:
    """First channel of any sound file or of a stretch of one, float32 at 16 kHz.

    Raises
    ------
    AudioError
        The file cannot be read, is empty or is silent.
    """
    mono = read_response(sound)
    check_scale(mono, sound.path if isinstance(sound, Part) else sound)
    frames = mono[: len(mono) // 480 * 480].reshape(-1, 480)
    if len(frames) == 0 or 10 * np.log10((frames**2).mean(axis=1).max() + 1e-12) < SILENT_DBFS:
        raise AudioError(f"{_named(sound)}: silent (nothing above {SILENT_DBFS:g} dBFS)")
    return mono


def read_response(sound: Path | Part) -> FloatArray:
    """As `read_audio`, however short or quiet: an impulse response is both."""
    part = sound if isinstance(sound, Part) else Part(sound, 0.0, math.inf)
    mono, rate_hz = first_channel(part)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = np.asarray(soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ), dtype=np.float32)
    if not np.all(np.isfinite(mono)):
        raise AudioError(f"{part.path}: holds samples that are not finite")
    return mono


def _named(sound: Path | Part) -> str:
    if isinstance(sound, Path):
        return str(sound)
    return f"{sound.path} from {sound.start_s:.0f} s on" if sound.start_s > 0 else str(sound.path)


def detector_branch(mic: FloatArray, reference: FloatArray | None = None) -> FloatArray:
    """What the model hears of one microphone, with the loudspeaker cancelled if it is given."""
    config = FrontEndConfig(voice_branch=False)
    front_end = open_front_end(config, 1, reference is not None)
    first = front_end.process(Block(0, mic[None], reference))
    return np.concatenate([first.detector, front_end.flush().detector])


def log_power(pcm: FloatArray) -> LogPower:
    """Natural log of the mel power, float16 [frames, bands]: half of the memory, error < 0.01."""
    if len(pcm) < FRAME_SAMPLES:
        pcm = np.pad(pcm, (0, FRAME_SAMPLES - len(pcm)))
    return np.log(mel_power(pcm)).astype(np.float16)


def hear(mic: FloatArray, reference: FloatArray | None = None) -> LogPower:
    """Detector branch and mel power in one."""
    return log_power(detector_branch(mic, reference))


def join(parts: list[LogPower]) -> LogPower:
    """All in one array; the list gives them up one by one, for both are large."""
    joined = np.empty((sum(map(len, parts)), BANDS), np.float16)
    at = 0
    for number, part in enumerate(parts):
        parts[number] = joined[:0]
        joined[at : at + len(part)] = part
        at += len(part)
    return joined
