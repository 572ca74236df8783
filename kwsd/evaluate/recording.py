"""Recordings of an evaluation: finding them, reading them, and where in them somebody speaks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from kwsd.block import LARGEST_SAMPLE, SAMPLE_RATE_HZ, FloatArray
from kwsd.errors import AudioError, MissingFileError
from kwsd.source.condition import check_rate
from kwsd.source.sound_file import SoundFile

SUFFIXES = frozenset(
    {".wav", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf"}
    | {".m4a", ".aac", ".mp4", ".wma", ".amr", ".3gp", ".webm"}
)
"""What is looked for in folders. The last ones cannot be decoded: they are listed as that, for
whoever has them counts on them."""

SILENT_DBFS = -65.0
"""A recording whose loudest 10 ms are below this holds nothing to hear."""

SHORTEST_S = 0.1
PART_S = 600
"""Longer recordings are read in parts of this length, so that memory stays bounded."""

HOP_SAMPLES = SAMPLE_RATE_HZ // 100
SPEECH_RANGE_DB = 25.0
ABOVE_FLOOR_DB = 8.0
PRE_EMPHASIS = 0.7
"""Lifts high sounds: a final /s/ lies too far below a vowel to be found by plain energy."""

LONGEST_PAUSE_HOPS = 25
"""A silence up to this long belongs to the utterance."""

SHORTEST_SYLLABLE_HOPS = 6
"""What is shorter, and far from the utterance, is a click of the recorder and no part of it."""


@dataclass(frozen=True)
class Part:
    """A recording or a stretch of a long one."""

    path: Path
    """The file."""

    start_s: float
    """Where the stretch begins."""

    seconds: float
    """How long it is; infinite: up to the end of the file."""


def find_recordings(paths: Iterable[Path]) -> list[Path]:
    """Audio files below folders, sorted; a path may also name one file.

    Raises
    ------
    MissingFileError
        A path is not there or may not be entered, or a folder holds no audio.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        with reachable(path):
            inside = [path] if path.is_file() else _inside(path)
            for one in inside:
                # However it is named, a recording counts once.
                found.setdefault(one.resolve(), one)
    return list(found.values())


def _inside(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such file or folder")
    inside = sorted(p for p in _files(folder, set()) if p.suffix.lower() in SUFFIXES)
    if not inside:
        raise MissingFileError(
            f"{folder}: no recording in it; {', '.join(sorted(SUFFIXES))} are looked for"
        )
    return inside


def _files(folder: Path, above: set[Path]) -> Iterator[Path]:
    """Files below a folder, those behind links too; what may not be entered is an error."""
    real = folder.resolve()
    if real in above:  # a link that leads back
        return
    for one in folder.iterdir():
        if one.is_dir():
            yield from _files(one, above | {real})
        elif one.is_file():
            yield one


@contextmanager
def reachable(path: Path) -> Iterator[None]:
    """Say it where a path may not be looked at: that is no bug of this program."""
    try:
        yield
    except OSError as error:
        raise MissingFileError(
            f"{error.filename or path} cannot be read: {error.strerror or error}; run as a user "
            "who may, or let this one enter its folders"
        ) from None


def parts_of(path: Path, longest_s: float = PART_S) -> list[Part]:
    """A recording cut into stretches of equal length, from its header alone.

    Raises
    ------
    AudioError
        It cannot be read.
    """
    try:
        with closing(SoundFile(path)) as file:
            check_rate(file.sample_rate_hz, str(path))
            seconds = file.known_frames() / file.sample_rate_hz
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from None
    if seconds < SHORTEST_S:
        raise AudioError(f"{path} is {seconds:.2f} s long; at least {SHORTEST_S} s are needed")
    count = max(1, int(np.ceil(seconds / longest_s)))
    return [Part(path, i * seconds / count, seconds / count) for i in range(count)]


def saying(path: Path) -> Part:
    """A recording that holds the word once.

    Raises
    ------
    AudioError
        It cannot be read, or is longer than any saying.
    """
    first, *more = parts_of(path)
    if more:
        raise AudioError(
            f"{path} is {first.seconds * (1 + len(more)):.0f} s long: a positive holds the word "
            "once: cut it out"
        )
    return first


def read_part(part: Part) -> FloatArray:
    """First channel of a part at 16 kHz.

    Returns
    -------
    ndarray, float32 [samples]
        Full scale 1.0; what is no number is silence.

    Raises
    ------
    AudioError
        It cannot be decoded or is silent.
    """
    stored, rate_hz = first_channel(part)
    pcm = np.nan_to_num(stored, nan=0.0, posinf=0.0, neginf=0.0)
    check_scale(pcm, part.path)
    if rate_hz != SAMPLE_RATE_HZ:
        pcm = soxr.resample(pcm, rate_hz, SAMPLE_RATE_HZ)
    if len(pcm) < SHORTEST_S * SAMPLE_RATE_HZ:
        raise AudioError(f"{part.path} ends after {len(pcm) / SAMPLE_RATE_HZ:.2f} s")
    if levels_dbfs(pcm).max() < SILENT_DBFS:
        raise AudioError(f"{part.path} is silent: nothing in it is above {SILENT_DBFS:g} dBFS")
    return np.asarray(pcm, dtype=np.float32)


def first_channel(part: Part) -> tuple[FloatArray, int]:
    """A part as it is stored, float32 [samples], and its rate (Hz).

    Raises
    ------
    AudioError
        It cannot be decoded.
    """
    try:
        with closing(SoundFile(part.path)) as file:
            rate_hz = file.sample_rate_hz
            start, end_s = round(part.start_s * rate_hz), part.start_s + part.seconds
            end = file.known_frames() if math.isinf(end_s) else round(end_s * rate_hz)
            if start > 0:
                file.seek(start)
            return np.ascontiguousarray(file.read(end - start)[:, 0]), rate_hz
    except OSError as error:
        raise AudioError(f"{part.path} cannot be read: {error.strerror or error}") from None


def check_scale(pcm: FloatArray, path: Path) -> None:
    """Refuse what the front end would take for damaged samples, and silence one by one.

    Raises
    ------
    AudioError
        A sample is too far beyond full scale: integers, stored as floats.
    """
    largest = float(np.abs(pcm).max(initial=0.0))
    if largest > LARGEST_SAMPLE:
        raise AudioError(
            f"{path} reaches {largest:g}; full scale is 1.0, at most {LARGEST_SAMPLE:g} is read: "
            "divide samples that were integers by their full scale"
        )


def levels_dbfs(pcm: FloatArray) -> FloatArray:
    """RMS of every 10 ms, float32 [samples // 160], digital silence at -120."""
    hops = pcm[: len(pcm) // HOP_SAMPLES * HOP_SAMPLES].reshape(-1, HOP_SAMPLES)
    power = np.square(hops.astype(np.float64)).mean(axis=1)
    return np.asarray(10.0 * np.log10(power + 1e-12), dtype=np.float32)


def floor_dbfs(pcm: FloatArray) -> float:
    """Level of the quietest tenth of a recording: what the room sounds like between words."""
    return float(np.percentile(levels_dbfs(pcm), 10))


def speech_bounds(pcm: FloatArray, pre_emphasis: float = PRE_EMPHASIS) -> tuple[int, int]:
    """Start of what is loud in a clip, and end of its loudest utterance, by energy.

    The levels of 10 ms of the pre-emphasised signal, averaged over 30 ms, are compared with a
    limit 25 dB below the loudest, or 8 dB above the room's level where that is higher. Pauses up
    to 250 ms belong to the utterance; before a longer one only what lasts as long as a syllable
    counts. Reverberation counts as speech: the estimate is good to some 50 ms (measured:
    docs/benchmarks/models.md, "Where a word ends").

    Returns
    -------
    tuple of int
        First sample and the one behind the last.
    """
    raised = np.concatenate([pcm[:1], pcm[1:] - np.float32(pre_emphasis) * pcm[:-1]])
    level = levels_dbfs(raised)
    smooth = np.convolve(np.pad(level, 1, mode="edge"), np.full(3, 1 / 3), "valid")
    top = float(smooth.max())
    floor = float(np.percentile(level, 10))
    loud = smooth >= max(top - SPEECH_RANGE_DB, min(floor + ABOVE_FLOOR_DB, top - 3.0))
    peak = int(np.argmax(smooth))
    stretches = _stretches(loud)
    last = next(stretch[-1] for stretch in stretches if stretch[-1] >= peak)
    first = next(
        stretch[0]
        for stretch in stretches
        if stretch[-1] >= peak or len(stretch) >= SHORTEST_SYLLABLE_HOPS
    )
    return int(first) * HOP_SAMPLES, (int(last) + 1) * HOP_SAMPLES


def _stretches(loud: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Loud places, apart where a pause separates them."""
    places = np.flatnonzero(loud)
    return np.split(places, np.flatnonzero(np.diff(places) > LONGEST_PAUSE_HOPS) + 1)
