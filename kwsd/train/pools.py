"""Pools: everything that training draws from, as log mel power, made once and kept on disk.

Sounds are mixed by adding powers, so noise, level and microphone colour can be drawn anew for
every window at almost no cost, and the level-normalised feature is computed after mixing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.features import BANDS, HOP_SAMPLES
from kwsd.errors import AudioError
from kwsd.train.bulk_speech import bulk_speech
from kwsd.train.corpus import load_manifest
from kwsd.train.listen import LogPower, hear, log_power, read_audio, speech_span
from kwsd.train.phrase import contains
from kwsd.train.recordings import Recording
from kwsd.train.residue import echo_residue
from kwsd.train.rooms import Room, simulate_rooms

FloatArray = NDArray[np.float32]

MIN_POSITIVES = 20
"""Fewer sayings of the phrase teach nothing."""

ROOMS = 100
POSITIVE_COPIES = 8
REAL_COPIES = 4
NEAR_COPIES = 3
WET_SHARE = 0.6
RESAMPLE_RANGE = (0.87, 1.15)
"""Resampling moves pitch, formants and tempo together."""

NEGATIVE_KINDS = ("speech", "synthetic", "bulk", "noise", "residue")
RESIDUE_SECONDS = 1800.0
RESIDUE_REPEATS = 3
PLAYED_SAMPLES = {"noise": 2 * SAMPLE_RATE_HZ, "speech": 6 * SAMPLE_RATE_HZ}
"""Recordings longer than this are also played by the loudspeaker, for the echo residue."""


@dataclass(frozen=True)
class Word:
    """One saying of the phrase."""

    frames: LogPower
    """float16 [frames, bands], log mel power."""

    end: int
    """Frame in which the word ends."""

    real: bool
    """A recording, not synthesised."""


@dataclass(frozen=True)
class Pools:
    """What windows are drawn from."""

    words: list[Word]
    """Positives."""

    negatives: dict[str, LogPower]
    """Long streams float16 [frames, bands] by kind."""


def _reverberant(pcm: FloatArray, room: Room) -> FloatArray:
    size = 1 << int(np.ceil(np.log2(len(pcm) + len(room.talker))))
    spectrum = np.fft.rfft(pcm, size) * np.fft.rfft(room.talker, size)
    return np.fft.irfft(spectrum)[: len(pcm)].astype(np.float32)


def vary(
    pcm: FloatArray, end: int, rooms: Sequence[Room], wet: float, rng: np.random.Generator
) -> tuple[FloatArray, int]:
    """Another speaker-like copy in a room; gives the audio and where the word ends in it."""
    factor = float(np.exp(rng.uniform(*np.log(RESAMPLE_RANGE))))
    rate_hz = SAMPLE_RATE_HZ * factor
    copy = np.asarray(soxr.resample(pcm, rate_hz, SAMPLE_RATE_HZ, quality="MQ"), dtype=np.float32)
    copy = np.pad(copy, (0, SAMPLE_RATE_HZ // 3))
    if rooms and rng.random() < wet:
        copy = _reverberant(copy, rooms[int(rng.integers(len(rooms)))])
    return copy, int(end / factor)


def _words(
    clips: Iterable[tuple[FloatArray, int, bool]], rooms: Sequence[Room], rng: np.random.Generator
) -> list[Word]:
    words = []
    for pcm, end, real in clips:
        for copy in range(REAL_COPIES if real else POSITIVE_COPIES):
            heard, at = vary(pcm, end, rooms, 0.0 if copy == 0 else WET_SHARE, rng)
            words.append(Word(hear(heard), at // HOP_SAMPLES, real))
    return words


def _skipping(recordings: Sequence[Recording]) -> Iterable[tuple[Recording, FloatArray]]:
    """Readable recordings; the others are listed on standard error."""
    for item in recordings:
        try:
            yield item, read_audio(item.path)
        except AudioError as error:
            print(f"skipped: {error}", file=sys.stderr)


def _real_word(pcm: FloatArray) -> tuple[FloatArray, int]:
    """The utterance of a recording with half a second before it, and where it ends."""
    first, last = speech_span(pcm)
    start = max(0, first - SAMPLE_RATE_HZ // 2)
    return pcm[start : last + SAMPLE_RATE_HZ // 3], last - start


def prepare(
    corpus: Path | None,
    counts: dict[str, int],
    recordings: Sequence[Recording],
    seed: int,
    report: Callable[[str], None],
    rooms_wanted: int = ROOMS,
    residue_seconds: float = RESIDUE_SECONDS,
    phrase_phones: str = "",
    other_corpora: Sequence[Path] = (),
    other_counts: dict[str, int] | None = None,
    bulk_seconds: float = 0.0,
) -> Pools:
    """Make the pools.

    Parameters
    ----------
    corpus : Path or None
        Synthetic corpus; its development voices are left out.
    counts : dict
        How many items of each kind to take from it.
    recordings : sequence of Recording
        Real recordings of the training part.
    seed : int
        Draws of rooms and copies.
    report : callable
        Gets one line per finished part.
    rooms_wanted : int
        Simulated rooms.
    residue_seconds : float
        Length of the echo-residue pool.
    phrase_phones : str
        Pronunciation of the phrase: a rendering that contains it is no negative.
    other_corpora : sequence of Path
        Corpora of other phrases: all of their renderings are negatives.
    other_counts : dict, optional
        How many items of each kind to take from each of them.
    bulk_seconds : float
        Length of the bulk speech.

    Raises
    ------
    AudioError
        Fewer than `MIN_POSITIVES` sayings of the phrase can be read.
    """
    rng = np.random.default_rng([seed, 1])
    rooms = simulate_rooms(rooms_wanted, rng)
    report(f"rooms: {len(rooms)}")
    clips: list[tuple[FloatArray, int, bool]] = []
    streams: dict[str, list[LogPower]] = {kind: [] for kind in NEGATIVE_KINDS}
    for item in load_manifest(corpus, counts) if corpus else []:
        if item.split != "train":
            continue
        assert corpus is not None
        pcm = read_audio(corpus / item.path)
        if item.kind == "positive":
            clips.append((pcm, len(pcm), False))
            continue
        if contains(item.phonemes, phrase_phones):
            continue
        for copy in range(NEAR_COPIES):
            wet = 0.0 if copy == 0 else WET_SHARE
            streams["synthetic"].append(hear(vary(pcm, 0, rooms, wet, rng)[0]))
    for folder in other_corpora:
        for item in load_manifest(folder, other_counts or counts):
            if item.split == "train" and not contains(item.phonemes, phrase_phones):
                pcm = read_audio(folder / item.path)
                streams["synthetic"].append(hear(vary(pcm, 0, rooms, WET_SHARE, rng)[0]))
    report(f"synthetic: {len(clips)} positives, {len(streams['synthetic'])} other")
    positives = [item for item in recordings if item.role == "positive"]
    clips += [(*_real_word(pcm), True) for _, pcm in _skipping(positives)]
    if len(clips) < MIN_POSITIVES:
        raise AudioError(
            f"{len(clips)} usable recordings of the phrase ({len(positives)} files): at least "
            f"{MIN_POSITIVES} are needed; what was skipped is listed above"
        )
    words = _words(clips, rooms, rng)
    report(f"positives: {len(clips)} clips, {len(words)} with copies")
    music: list[FloatArray] = []
    for recording, pcm in _skipping([r for r in recordings if r.role != "positive"]):
        streams[recording.role].append(hear(pcm))
        if recording.role == "speech":
            streams["speech"].append(hear(vary(pcm, 0, rooms, 0.8, rng)[0]))
        if len(pcm) > PLAYED_SAMPLES[recording.role]:
            music.append(pcm)
    streams["noise"] += [log_power(pcm) for pcm in stationary_noises(rng)]
    report("recordings: " + _hours(streams))
    if music:
        # More would only repeat the same sounds.
        longest_s = RESIDUE_REPEATS * sum(map(len, music)) / SAMPLE_RATE_HZ
        length_s = min(residue_seconds, longest_s)
        streams["residue"] = list(echo_residue(music, rooms, length_s, rng))
    bulk_rng = np.random.default_rng([seed, 4])
    for utterance in bulk_speech(bulk_seconds, phrase_phones, bulk_rng):
        streams["bulk"].append(hear(vary(utterance, 0, rooms, WET_SHARE, bulk_rng)[0]))
    report("with residue and bulk speech: " + _hours(streams))
    negatives = {}
    for kind, parts in streams.items():
        order = rng.permutation(len(parts))
        joined = [parts[int(i)] for i in order] or [np.full((0, BANDS), -18, np.float16)]
        negatives[kind] = np.concatenate(joined)
    return Pools(words, negatives)


def _hours(streams: dict[str, list[LogPower]]) -> str:
    return ", ".join(
        f"{kind} {sum(map(len, parts)) * HOP_SAMPLES / SAMPLE_RATE_HZ / 3600:.2f} h"
        for kind, parts in streams.items()
    )


def stationary_noises(
    rng: np.random.Generator, count: int = 90, seconds: float = 10.0
) -> list[FloatArray]:
    """White to brown noise, some of it band-limited, some with the hum and whirr of a fan."""
    samples = int(seconds * SAMPLE_RATE_HZ)
    frequency_hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    noises = []
    for _ in range(count):
        slope = rng.uniform(0.0, 1.2)
        shape = np.maximum(frequency_hz, 20.0) ** -slope
        if rng.random() < 0.4:
            low, high = np.sort(rng.uniform(50, 7500, 2))
            shape = np.where(
                (frequency_hz > low) & (frequency_hz < high + 300), shape, shape * 0.03
            )
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * shape, samples)
        noise /= noise.std()
        if rng.random() < 0.5:
            base_hz = rng.uniform(45, 260)
            for harmonic in range(1, 8):
                gain = rng.uniform(0, 1.0) / harmonic
                phase = 2 * np.pi * harmonic * base_hz * time_s
                noise += gain * np.sin(phase + 0.3 * np.sin(2 * np.pi * 0.7 * time_s))
        noises.append((0.05 * noise / noise.std()).astype(np.float32))
    return noises


def recipe_key(parts: Iterable[object]) -> str:
    """Hash of everything that determines the pools, for the cache's file name."""
    return hashlib.sha256(json.dumps([str(p) for p in parts]).encode()).hexdigest()[:16]


def save(pools: Pools, path: Path) -> None:
    """Store for a later run; complete or not at all."""
    partial = path.with_suffix(".partial.npz")
    starts = np.cumsum([0, *(len(word.frames) for word in pools.words)])
    arrays: dict[str, Any] = {
        "words": np.concatenate([word.frames for word in pools.words]),
        "starts": starts,
        "ends": np.array([word.end for word in pools.words]),
        "real": np.array([word.real for word in pools.words]),
    }
    arrays |= {f"negative_{kind}": stream for kind, stream in pools.negatives.items()}
    np.savez(partial, **arrays)
    os.replace(partial, path)


def load(path: Path) -> Pools:
    """What `save` has stored."""
    with np.load(path, allow_pickle=False) as stored:
        frames, starts = stored["words"], stored["starts"]
        words = [
            Word(frames[a:b], int(end), bool(real))
            for a, b, end, real in zip(
                starts[:-1], starts[1:], stored["ends"], stored["real"], strict=True
            )
        ]
        return Pools(words, {kind: stored[f"negative_{kind}"] for kind in NEGATIVE_KINDS})
