"""What is said and played: wake words, talkers, music, and how loud they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from benchmarks.echo.rooms import RATE_HZ, FloatArray
from kwsd.evaluate.recording import speech_bounds

SUFFIXES = (".wav", ".flac", ".ogg", ".opus")
MARGIN_SAMPLES = 480
"""Kept before and behind a word: 30 ms."""


@dataclass(frozen=True)
class Material:
    """Signals at 16 kHz."""

    words: tuple[FloatArray, ...]
    talk: tuple[FloatArray, ...]
    music: tuple[FloatArray, ...]
    real: bool
    """Whether talk and music are recordings."""


def read(path: Path) -> FloatArray:
    """One recording, mixed to one channel at 16 kHz."""
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return mono if rate == RATE_HZ else soxr.resample(mono, rate, RATE_HZ).astype(np.float32)


def load(words: Path, data: Path | None, seed: int = 0) -> Material:
    """Wake words of a folder; talk and music of a data folder, or made up without one."""
    rng = np.random.default_rng(seed)
    said = tuple(trimmed(read(path)) for path in files(words))
    if not said:
        raise SystemExit(f"--words {words}: no recordings ({', '.join(SUFFIXES)})")
    if data is None:
        return Material(
            said,
            tuple(babble(rng, 6.0) for _ in range(20)),
            tuple(tune(rng, 30.0) for _ in range(10)),
            False,
        )
    talk = files(data / "speech" / "speechocean762")
    music = files(data / "music")
    if not talk or not music:
        raise SystemExit(f"--data {data}: needs speech/speechocean762 and music")
    chosen = [talk[i] for i in rng.permutation(len(talk))[:150]]
    loud = [signal for signal in (read(path) for path in music) if len(signal) > 5 * RATE_HZ]
    return Material(said, tuple(read(path) for path in chosen), tuple(loud), True)


def files(folder: Path) -> list[Path]:
    """Recordings below a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)


def level_db(signal: FloatArray) -> float:
    """Power of what is active: frames of 20 ms within 30 dB of the loudest."""
    frames = signal[: len(signal) // 320 * 320].reshape(-1, 320).astype(np.float64)
    powers = np.mean(frames**2, axis=1)
    active = powers[powers > powers.max() * 1e-3] if powers.size else powers
    return float(10 * np.log10(active.mean() + 1e-15)) if active.size else -150.0


def at_level(signal: FloatArray, db: float) -> FloatArray:
    """The signal with this active level."""
    return (signal * 10 ** ((db - level_db(signal)) / 20)).astype(np.float32)


def trimmed(word: FloatArray) -> FloatArray:
    """Without the silence around it."""
    loud = np.flatnonzero(np.abs(word) > 0.02 * np.abs(word).max())
    return word if loud.size == 0 else _with_margin(word, loud[0], loud[-1])


def utterance(recording: FloatArray) -> FloatArray:
    """The word of a recording whose room is not silent: a hit is looked for around its end."""
    return _with_margin(recording, *speech_bounds(recording))


def _with_margin(recording: FloatArray, first: int, end: int) -> FloatArray:
    return recording[max(0, first - MARGIN_SAMPLES) : end + MARGIN_SAMPLES]


def programme(
    parts: tuple[FloatArray, ...], rng: np.random.Generator, samples: int, pause_s: float
) -> FloatArray:
    """Parts one behind the other, equally loud, for so long."""
    out: list[FloatArray] = []
    length = 0
    while length < samples:
        part = at_level(parts[int(rng.integers(len(parts)))], -20.0)
        start = int(rng.integers(max(1, len(part) - 12 * RATE_HZ)))
        part = part[start : start + 12 * RATE_HZ]
        pause = np.zeros(int(pause_s * rng.uniform(0.5, 1.5) * RATE_HZ), np.float32)
        out += [part, pause]
        length += len(part) + len(pause)
    return np.concatenate(out)[:samples]


def babble(rng: np.random.Generator, seconds: float) -> FloatArray:
    """Speech-like sound: a buzz with wandering pitch and formants, in syllables."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch = 120 * rng.uniform(0.8, 1.8) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 1.0) * t))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    sound = np.zeros_like(t)
    for harmonic in range(1, 25):
        centre = 700 + 400 * np.sin(2 * np.pi * rng.uniform(1, 3) * t + harmonic)
        weight = np.exp(-(((harmonic * pitch - centre) / 600) ** 2)) + 0.1 / harmonic
        sound += weight * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(3, 5) * t) + 0.3, 0, 1)
    return (0.1 * sound * syllables).astype(np.float32)


def tune(rng: np.random.Generator, seconds: float) -> FloatArray:
    """Music-like sound: decaying tones of a scale with a beat."""
    out = np.zeros(int(seconds * RATE_HZ))
    t = np.arange(RATE_HZ) / RATE_HZ
    for start in np.arange(0, seconds - 1.0, 0.25):
        note = 220 * 2 ** (rng.integers(0, 24) / 12)
        tone = sum(np.sin(2 * np.pi * note * k * t) / k for k in range(1, 6)) * np.exp(-4 * t)
        at = int(start * RATE_HZ)
        out[at : at + len(t)] += tone * rng.uniform(0.3, 1.0)
        out[at : at + 800] += 0.5 * rng.standard_normal(800) * np.exp(-np.arange(800) / 150)
    return (0.1 * out).astype(np.float32)
