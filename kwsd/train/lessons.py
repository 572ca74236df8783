"""Lessons: speech with what the teacher says of it, made once and kept; windows drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.features import BANDS
from kwsd.errors import AudioError
from kwsd.evaluate.recording import Part, saying
from kwsd.evaluate.rooms import simulate_rooms
from kwsd.progress import Report
from kwsd.train.augment import (
    OTHER_TRACT,
    ROOM_SHARE,
    TOTAL_FRAMES,
    WARM_FRAMES,
    WINDOW_FRAMES,
    Windows,
)
from kwsd.train.layers import STRIDE
from kwsd.train.listen import STRETCH_S, known_length_s, stretches
from kwsd.train.pools import Amounts, Spoken, hours
from kwsd.train.recordings import Recording
from kwsd.train.studio import Piece, Studio, work_through
from kwsd.train.teacher import EVERY_FRAMES, LAST_FRAME, SIZE, SPAN_FRAMES, Lesson
from kwsd.train.voices import retracted
from kwsd.train.work_file import work_file

FloatArray = NDArray[np.float32]

CLIPS_A_LESSON = 24
LESSON_S = STRETCH_S
"""No longer than the longest recording in it: a lesson is heard in one piece."""

REAL_SHARE = 0.6
"""Share of the windows in which people speak, if both are there."""

RETRACTED_SHARE = 0.5
"""Of the windows that get another vocal tract; the teacher says the same of them."""


def prepare_lessons(
    spoken: Sequence[Spoken],
    recordings: Sequence[Recording],
    amounts: Amounts,
    seed: int,
    report: Report,
    workers: int = 1,
) -> list[Lesson]:
    """Let the teacher hear all speech that trains.

    Parameters
    ----------
    spoken : sequence of Spoken
        The phrases and their renderings.
    recordings : sequence of Recording
        Real recordings of the training part.
    amounts : Amounts
        How many renderings and rooms.
    seed : int
        Of all draws.
    report : callable
        Gets a line.
    workers : int
        Processes; they change nothing in the result.

    Raises
    ------
    RuntimeUnavailable
        There is no teacher.
    """
    rng = np.random.default_rng([seed, 4])
    studio = Studio(seed, tuple(simulate_rooms(amounts.rooms, rng)), (), ())
    pieces = [
        Piece("lesson", number, phrase=phrase, real=real, sounds=tuple(some))
        for number, (real, phrase, some) in enumerate(_groups(spoken, recordings, amounts, rng))
    ]
    lessons = [done.lesson for _, done in work_through(pieces, studio, workers)]
    given = [lesson for lesson in lessons if lesson and len(lesson.frames) > TOTAL_FRAMES]
    kinds = {"people": True, "synthetic": False}
    heard = {kind: [x.frames for x in given if x.real == real] for kind, real in kinds.items()}
    report("lessons: " + hours(heard))
    return given


def _groups(
    spoken: Sequence[Spoken],
    recordings: Sequence[Recording],
    amounts: Amounts,
    rng: np.random.Generator,
) -> list[tuple[bool, int, list[Path | Part]]]:
    """What stands together in a lesson: whether people speak, which phrase, and the sounds."""
    phrases = [item.phrase for item in spoken]
    kinds: dict[tuple[bool, int], list[Path | Part]] = {}
    for recording in recordings:
        if recording.role == "speech":
            kinds.setdefault((True, -1), []).extend(stretches(recording.path))
        elif recording.role == "positive":
            number = phrases.index(recording.phrase)
            try:
                saying(recording.path)
            except AudioError:
                continue  # the pools list it
            kinds.setdefault((True, number), []).extend(stretches(recording.path))
    for item in spoken:
        rendered = [path for path, _ in item.rendered("train", amounts.renderings)]
        kinds.setdefault((False, -1), []).extend(rendered)
    groups = []
    for (real, phrase), sounds in kinds.items():
        mixed = [sounds[int(i)] for i in rng.permutation(len(sounds))]
        groups += [(real, phrase, some) for some in _at_a_time(mixed)]
    return groups


def _at_a_time(sounds: Sequence[Path | Part]) -> Iterator[list[Path | Part]]:
    """Sounds in their order, as many as a lesson may hold."""
    some: list[Path | Part] = []
    for sound in sounds:
        held_s = sum(map(known_length_s, some))
        if len(some) == CLIPS_A_LESSON or (some and held_s + known_length_s(sound) > LESSON_S):
            yield some
            some = []
        some.append(sound)
    if some:
        yield some


def save_lessons(lessons: Sequence[Lesson], path: Path) -> None:
    """Store for a later run; complete or not at all."""
    arrays: dict[str, Any] = {
        "frames": np.concatenate([np.empty((0, BANDS), np.float16), *(x.frames for x in lessons)]),
        "answers": np.concatenate([np.empty((0, SIZE), np.float16), *(x.answers for x in lessons)]),
        "starts": np.cumsum([0, *(len(lesson.answers) for lesson in lessons)]),
        "real": np.array([lesson.real for lesson in lessons]),
        "phrases": np.array([lesson.phrase for lesson in lessons]),
    }
    with work_file(path) as place:
        np.savez(place, **arrays)


def load_lessons(path: Path) -> list[Lesson]:
    """What `save_lessons` has stored."""
    with np.load(path, allow_pickle=False) as stored:
        frames, answers, starts = stored["frames"], stored["answers"], stored["starts"]
        return [
            Lesson(
                frames[a * EVERY_FRAMES : b * EVERY_FRAMES], answers[a:b], bool(real), int(phrase)
            )
            for a, b, real, phrase in zip(
                starts[:-1], starts[1:], stored["real"], stored["phrases"], strict=True
            )
        ]


class LessonBatch(NamedTuple):
    """What the pupil hears and what it shall say."""

    features: FloatArray
    """float32 [batch, BANDS, WINDOW_FRAMES]."""

    answers: FloatArray
    """float32 [batch, steps, SIZE], of unit variance; NaN where nothing is asked for."""


@dataclass(frozen=True)
class _Shelf:
    """Lessons of one kind, and the bounds by which a long one is drawn more often."""

    lessons: list[Lesson]
    bounds: NDArray[np.float64]


class LessonWindows:
    """Draws windows from lessons, noisy and coloured as those of the words are.

    Parameters
    ----------
    lessons : sequence of Lesson
        At least one.
    windows : Windows
        Whose noises and microphones are used.
    """

    def __init__(self, lessons: Sequence[Lesson], windows: Windows) -> None:
        self._windows = windows
        answers = np.concatenate([lesson.answers for lesson in lessons]).astype(np.float32)
        self._mean = np.nanmean(answers, axis=0)
        self._spread = np.nanstd(answers, axis=0) + np.float32(1e-3)
        self._shelves = {}
        for real in (True, False):
            some = [lesson for lesson in lessons if lesson.real == real]
            if some:
                lengths = np.cumsum([len(lesson.answers) for lesson in some])
                self._shelves[real] = _Shelf(some, lengths / lengths[-1])
        # Of each answer in a window: its row, and the step of the network at which it is due.
        rows = np.arange(TOTAL_FRAMES // EVERY_FRAMES)
        steps = (rows * EVERY_FRAMES + LAST_FRAME - WARM_FRAMES) // STRIDE
        heard = steps >= SPAN_FRAMES // STRIDE  # the network has heard what the answer is about
        self._rows, self._steps = rows[heard], steps[heard]

    def batch(self, rng: np.random.Generator, count: int) -> LessonBatch:
        """Draw one batch."""
        power = np.empty((count, TOTAL_FRAMES, BANDS), np.float32)
        answers = np.full((count, WINDOW_FRAMES // STRIDE, SIZE), np.nan, np.float32)
        for row in range(count):
            lesson = self._draw(rng)
            first = int(rng.integers((len(lesson.frames) - TOTAL_FRAMES) // EVERY_FRAMES + 1))
            start = first * EVERY_FRAMES
            frames = np.exp(lesson.frames[start : start + TOTAL_FRAMES].astype(np.float32))
            if rng.random() < RETRACTED_SHARE:
                frames = retracted(rng, frames, OTHER_TRACT)
            power[row] = frames
            given = lesson.answers[first + self._rows].astype(np.float32)
            answers[row, self._steps] = (given - self._mean) / self._spread
        roomy = rng.random(count) < ROOM_SHARE
        return LessonBatch(self._windows.features(rng, power, roomy), answers)

    def _draw(self, rng: np.random.Generator) -> Lesson:
        real = True in self._shelves and (False not in self._shelves or rng.random() < REAL_SHARE)
        shelf = self._shelves[real]
        return shelf.lessons[int(np.searchsorted(shelf.bounds, rng.random()))]
