"""Studio: the work behind the pools, done by processes; each piece depends on its number alone.

A piece is a recording, a rendering, a minute of bulk speech, a stretch of echo residue or a lesson
of the teacher; what comes back is what the detector branch lets through, as log mel power.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.features import HOP_SAMPLES
from kwsd.errors import AudioError
from kwsd.evaluate.recording import Part, levels_dbfs, saying, speech_bounds
from kwsd.evaluate.rooms import Room
from kwsd.train.bulk_speech import bulk_speech, sayings
from kwsd.train.copies import TAIL_SAMPLES, WET_SHARE, Clip, synthetic_copy, vary, whole
from kwsd.train.listen import LogPower, detector_branch, hear, log_power, read_audio
from kwsd.train.residue import PIECE_SECONDS, over_playback, residue_piece
from kwsd.train.teacher import Lesson, give_lesson
from kwsd.worker_pool import worker_pool

FloatArray = NDArray[np.float32]

SYNTHETIC_COPIES = 6
REAL_COPIES = 12
OTHER_COPIES = 2
ROOMY_SHARE = 0.8
PLAYED_SHARE = 0.12
"""Share of all copies, with a phrase or without, that are heard while the device plays."""

BULK_PIECE_SECONDS = 60.0
SAYINGS_A_PIECE = 20
LEAD_SAMPLES = SAMPLE_RATE_HZ // 2
"""Kept in front of the word of a recording: its own room tone."""

TONE_BELOW_DB = 20.0
"""A second saying, or half of a word behind a pause, is no room tone."""

SILENT_TONE_DBFS = -95.0
TONE_GAP_SAMPLES = SAMPLE_RATE_HZ // 20
"""What lies this close to a word is not taken for room tone."""


@dataclass(frozen=True)
class Studio:
    """What every piece of work may need."""

    seed: int
    """Of all draws, together with the number of a piece."""

    rooms: tuple[Room, ...]
    """Simulated and measured."""

    music: tuple[FloatArray, ...]
    """What the loudspeaker plays."""

    unwanted: tuple[str, ...]
    """Pronunciations of all phrases: bulk speech contains none."""


@dataclass(frozen=True)
class Piece:
    """One piece of work."""

    kind: str
    """A key of `WORK`."""

    number: int
    """Among all pieces of a run; determines its draws."""

    sound: Path | Part = Path()
    """Recording, stretch of one, or rendering, where it is one."""

    phonemes: str = ""
    """What to say, for `sayings`."""

    phrase: int = -1
    """Which phrase positives say."""

    sounds: tuple[Path | Part, ...] = ()
    """What stands together in a lesson."""

    real: bool = False
    """Whether people speak in it."""

    @property
    def file(self) -> str:
        """The recording that it hears, or hears a stretch of; of others it means nothing."""
        return str((self.sound.path if isinstance(self.sound, Part) else self.sound).resolve())


@dataclass(frozen=True)
class Heard:
    """What came of a piece."""

    words: tuple[tuple[LogPower, int, int], ...] = ()
    """Copies of the phrase, and the frames in which each begins and ends."""

    streams: tuple[LogPower, ...] = ()
    """Anything else."""

    tones: tuple[LogPower, ...] = ()
    """What a recording sounds like before and behind its word."""

    lesson: Lesson | None = None
    """Speech with what the teacher says of it."""

    skipped: str = ""
    """Why nothing came of it."""


def _hear(copy: Clip, studio: Studio, rng: np.random.Generator) -> tuple[LogPower, int, int]:
    """Through the detector branch, sometimes with playback to cancel; begin and end in frames."""
    if studio.music and rng.random() < PLAYED_SHARE:
        copy = over_playback(copy, studio.music, studio.rooms, rng)
    else:
        copy = replace(copy, pcm=detector_branch(copy.pcm))
    return log_power(copy.pcm), copy.first // HOP_SAMPLES, copy.last // HOP_SAMPLES


def _word_copies(
    clip: Clip, count: int, real: bool, studio: Studio, rng: np.random.Generator
) -> tuple[tuple[LogPower, int, int], ...]:
    copies = []
    for number in range(count):
        copy = vary if real else synthetic_copy
        varied = copy(clip, studio.rooms, WET_SHARE if number else 0.0, rng)
        copies.append(_hear(varied, studio, rng))
    return tuple(copies)


def _rendered_word(piece: Piece, studio: Studio, rng: np.random.Generator) -> Heard:
    clip = whole(read_audio(piece.sound))
    return Heard(_word_copies(clip, SYNTHETIC_COPIES, False, studio, rng))


def _recorded_word(piece: Piece, studio: Studio, rng: np.random.Generator) -> Heard:
    assert isinstance(piece.sound, Path)
    pcm = read_audio(saying(piece.sound))
    first, last = speech_bounds(pcm)
    start = max(0, first - LEAD_SAMPLES)
    word = Clip(pcm[start : last + TAIL_SAMPLES], first - start, last - start)
    around = (pcm[: max(0, first - TONE_GAP_SAMPLES)], pcm[last + TONE_GAP_SAMPLES :])
    loudest_dbfs = float(levels_dbfs(pcm[first:last]).max())
    return Heard(
        _word_copies(word, REAL_COPIES, True, studio, rng),
        tones=tuple(hear(tone) for tone in around if _is_tone(tone, loudest_dbfs)),
    )


def _is_tone(pcm: FloatArray, word_dbfs: float) -> bool:
    """Neither digital silence nor something that might be said."""
    if len(pcm) < 4 * HOP_SAMPLES:
        return False
    return SILENT_TONE_DBFS < float(levels_dbfs(pcm).max()) < word_dbfs - TONE_BELOW_DB


def _sayings(piece: Piece, studio: Studio, rng: np.random.Generator) -> Heard:
    words: list[tuple[LogPower, int, int]] = []
    for pcm in sayings(piece.phonemes, SAYINGS_A_PIECE, rng):
        words += _word_copies(whole(pcm), OTHER_COPIES, False, studio, rng)
    return Heard(tuple(words))


def _rendered_other(piece: Piece, studio: Studio, rng: np.random.Generator) -> Heard:
    clip = whole(read_audio(piece.sound))
    copies = _word_copies(clip, OTHER_COPIES, False, studio, rng)
    return Heard(streams=tuple(frames for frames, *_ in copies))


def _speech(piece: Piece, studio: Studio, rng: np.random.Generator) -> Heard:
    pcm = read_audio(piece.sound)
    varied = vary(whole(pcm), studio.rooms, ROOMY_SHARE, rng)
    return Heard(streams=(hear(pcm), _hear(varied, studio, rng)[0]))


def _noise(piece: Piece, studio: Studio, rng: np.random.Generator) -> Heard:
    return Heard(streams=(hear(read_audio(piece.sound)),))


def _bulk(piece: Piece, studio: Studio, rng: np.random.Generator) -> Heard:
    heard = []
    for pcm in bulk_speech(BULK_PIECE_SECONDS, studio.unwanted, rng):
        copy = synthetic_copy(whole(pcm), studio.rooms, WET_SHARE, rng)
        heard.append(_hear(copy, studio, rng)[0])
    return Heard(streams=tuple(heard))


def _residue(piece: Piece, studio: Studio, rng: np.random.Generator) -> Heard:
    return Heard(streams=(residue_piece(studio.music, studio.rooms, rng),))


def _lesson(piece: Piece, studio: Studio, rng: np.random.Generator) -> Heard:
    return Heard(lesson=give_lesson(piece.sounds, piece.real, piece.phrase, studio.rooms, rng))


WORK: dict[str, Callable[[Piece, Studio, np.random.Generator], Heard]] = {
    "rendered word": _rendered_word,
    "recorded word": _recorded_word,
    "sayings": _sayings,
    "synthetic": _rendered_other,
    "speech": _speech,
    "noise": _noise,
    "bulk": _bulk,
    "residue": _residue,
    "lesson": _lesson,
}

PIECE_LENGTHS_S = {"bulk": BULK_PIECE_SECONDS, "residue": PIECE_SECONDS}
"""Kinds that are ordered by length."""

_studio: Studio | None = None


def _open(studio: Studio | None) -> None:
    global _studio
    _studio = studio


def _do(piece: Piece) -> Heard:
    assert _studio is not None
    rng = np.random.default_rng([_studio.seed, 1, piece.number])
    try:
        return WORK[piece.kind](piece, _studio, rng)
    except AudioError as error:
        return Heard(skipped=str(error))


def work_through(
    pieces: Sequence[Piece], studio: Studio, workers: int
) -> Iterator[tuple[Piece, Heard]]:
    """Do all pieces; they come back in their order, whatever the number of processes."""
    if workers == 1:
        _open(studio)
        try:
            yield from ((piece, _do(piece)) for piece in pieces)
        finally:
            # Hours of sounds are not kept for the training.
            _open(None)
        return
    # Forked, so that what the studio holds is not copied.
    context = multiprocessing.get_context("fork")
    with worker_pool(workers, _open, (studio,), context) as pool:
        yield from zip(pieces, pool.map(_do, pieces, chunksize=8), strict=True)
