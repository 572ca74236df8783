"""Scenes: what the microphones and the reference hear, and where the words are.

Every part is kept by itself, so that the same scene can be mixed at any speech-to-echo ratio (SER):
active level of the talker over active level of the echo, both at microphone 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

from benchmarks.echo.material import Material, at_level, level_db, programme
from benchmarks.echo.rooms import RATE_HZ, FloatArray, Room, make_room

TALKER_DBFS = -33.0
WORDS = 5
FIRST_WORD_S = 5.0
WORD_EVERY_S = 5.0
TAIL_S = 2.0


@dataclass(frozen=True)
class Condition:
    """What makes a session hard."""

    name: str
    music: bool
    clip: str = "none"
    """none, soft or hard."""

    small: bool = False
    """A loudspeaker that gives nothing below 300 Hz."""

    delay_ms: float = 20.0
    drift_ppm: float = 0.0
    change: bool = False
    noise_db: float = -60.0
    """Diffuse noise, dB re full scale."""


CONDITIONS = (
    Condition("music", True),
    Condition("speech", False),
    Condition("music, soft clip", True, clip="soft"),
    Condition("speech, soft clip", False, clip="soft", delay_ms=60),
    Condition("music, 120 ms", True, delay_ms=120),
    Condition("music, +50 ppm", True, drift_ppm=50),
    Condition("speech, -50 ppm, soft clip", False, clip="soft", drift_ppm=-50, delay_ms=40),
    Condition("speech, path change", False, change=True),
    Condition("music, hard clip", True, clip="hard"),
    Condition("speech, small soft", False, clip="soft", small=True, delay_ms=90),
    Condition("music, noise", True, noise_db=-50.0),
    Condition("music, small hard, change", True, clip="hard", small=True, change=True, delay_ms=0),
)
"""One session each; five words a session."""


@dataclass(frozen=True)
class Scene:
    """Parts of a session, float32; microphones are rows."""

    name: str
    near: FloatArray
    """Talker in the room, [2, n]."""

    echo: FloatArray
    """Loudspeaker in the room, [2, n], at 0 dB SER."""

    noise: FloatArray
    """[2, n]."""

    reference: FloatArray
    """What is played, [n]."""

    word_ends: tuple[int, ...]
    delay_samples: int
    room: Room

    def mix(self, ser_db: float | None) -> FloatArray:
        """Microphones [2, n] at a speech-to-echo ratio; None is without echo."""
        gain = 0.0 if ser_db is None else 10 ** (-ser_db / 20)
        return np.clip(self.near + gain * self.echo + self.noise, -1.0, 1.0).astype(np.float32)


def make_scene(material: Material, number: int, seed: int, condition: Condition) -> Scene:
    """A session of a condition."""
    rng = np.random.default_rng([seed, number])
    room = make_room(1000 * seed + number)
    near, ends = _talker(material, rng, room, number)
    samples = near.shape[1]
    source = material.music if condition.music else material.talk
    reference = programme(source, rng, samples, 0.0 if condition.music else 0.3)
    reference = np.clip(at_level(reference, -16.0), -0.99, 0.99).astype(np.float32)
    played = _loudspeaker(reference, condition)
    delay = round(condition.delay_ms * RATE_HZ / 1000)
    echo = _in_room(played, room.loudspeaker)
    if condition.change:
        moved = _in_room(played, room.moved_loudspeaker)
        half = samples // 2
        echo[:, half:] = moved[:, half:]
    echo = np.pad(echo, ((0, 0), (delay, 0)))[:, :samples]
    echo *= np.float32(10 ** ((TALKER_DBFS - level_db(echo[0])) / 20))
    noise = rng.standard_normal((2, samples)) * 10 ** (condition.noise_db / 20)
    return Scene(
        condition.name,
        near,
        echo.astype(np.float32),
        noise.astype(np.float32),
        reference,
        ends,
        delay,
        room,
    )


def make_noise_scene(material: Material, number: int, seed: int) -> Scene:
    """A session with a point noise in place of a loudspeaker; `mix` takes the SNR as its SER."""
    rng = np.random.default_rng([seed, 100 + number])
    room = make_room(1000 * seed + 100 + number)
    near, ends = _talker(material, rng, room, number)
    samples = near.shape[1]
    source = material.music if number % 2 else material.talk
    played = programme(source, rng, samples, 0.1)
    echo = _in_room(played, room.noise)
    echo *= np.float32(10 ** ((TALKER_DBFS - level_db(echo[0])) / 20))
    noise = (rng.standard_normal((2, samples)) * 10 ** (-65 / 20)).astype(np.float32)
    return Scene(
        f"point noise {number}", near, echo, noise, np.zeros(samples, np.float32), ends, 0, room
    )


def wake_scenes(material: Material, seed: int) -> list[Scene]:
    """All sessions with playback."""
    return [make_scene(material, i, seed, condition) for i, condition in enumerate(CONDITIONS)]


def noise_scenes(material: Material, seed: int, count: int = 12) -> list[Scene]:
    """All sessions with a point noise."""
    return [make_noise_scene(material, i, seed) for i in range(count)]


def _talker(
    material: Material, rng: np.random.Generator, room: Room, number: int
) -> tuple[FloatArray, tuple[int, ...]]:
    samples = int((FIRST_WORD_S + WORDS * WORD_EVERY_S + TAIL_S) * RATE_HZ)
    dry = np.zeros(samples, np.float32)
    ends = []
    for turn in range(WORDS):
        word = at_level(material.words[(number * WORDS + turn) % len(material.words)], -20.0)
        start = int((FIRST_WORD_S + turn * WORD_EVERY_S + rng.uniform(0, 1.5)) * RATE_HZ)
        dry[start : start + len(word)] += word
        ends.append(start + len(word))
    near = _in_room(dry, room.talker)
    near *= np.float32(10 ** ((TALKER_DBFS - level_db(near[0])) / 20))
    return near, tuple(ends)


def _in_room(dry: FloatArray, response: FloatArray) -> FloatArray:
    wet = [fftconvolve(dry, response[mic])[: len(dry)] for mic in range(2)]
    return np.stack(wet).astype(np.float32)


def _loudspeaker(reference: FloatArray, condition: Condition) -> FloatArray:
    """What a small loudspeaker and another clock make of the reference."""
    played = reference.astype(np.float64)
    if condition.small:
        played = sosfilt(butter(2, 300, "high", fs=RATE_HZ, output="sos"), played)
    if condition.clip == "soft":
        played = np.tanh(4.0 * played) / 4.0
    elif condition.clip == "hard":
        edge = 3.0 * np.sqrt(np.mean(played**2)) / 2.0
        played = np.clip(played, -edge, edge)
    if condition.drift_ppm:
        ratio = 1.0 + condition.drift_ppm * 1e-6
        longer = np.concatenate([played, np.zeros(RATE_HZ)])
        played = soxr.resample(longer, RATE_HZ, RATE_HZ * ratio, quality="VHQ")[: len(reference)]
    return played.astype(np.float32)
