"""Teacher: a network that has heard many people says what a stretch of speech sounds like.

Synthetic voices differ from each other less than people do, and a small network that has only
heard them say a word misses the same few people nearly always (docs/benchmarks/training_trials.md).
The speech embedding of Lin et al., "Training keyword spotters with limited and synthesized speech
data" (ICASSP 2020) was trained on the words of very many people. It is too slow for a board, so it
only teaches: the network that is shipped learns, beside the words, to say the same of any speech.
Its weights come with the package pyopen-wakeword; nothing of them is part of this project.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.features import HOP_SAMPLES
from kwsd.errors import AudioError, RuntimeUnavailable
from kwsd.evaluate.recording import Part
from kwsd.evaluate.rooms import Room
from kwsd.evaluate.surroundings import convolve
from kwsd.runtime.litert import interpreter_module
from kwsd.train.copies import vary, whole
from kwsd.train.listen import LogPower, hear, read_audio

FloatArray = NDArray[np.float32]

SIZE = 96
"""Values that say what one stretch of speech sounds like."""

MEL_BANDS = 32
SPAN_FRAMES = 76
"""Frames of 10 ms that one of its answers is about."""

EVERY_FRAMES = 8
"""Frames from one answer to the next."""

LAST_FRAME = (SPAN_FRAMES - 1) % EVERY_FRAMES
"""Frame of each `EVERY_FRAMES` with which an answer ends."""

PACKAGE = "pyopen_wakeword"
FILES = {
    "melspectrogram.tflite": "96fa0adccb6e8cf95cb14465409a1a2898ee4a96a85bb9ed3c7eb0e68bf163e8",
    "embedding_model.tflite": "c0aea21eb84a4ce90a08c870da41b7a7173b45269e6a3207c71d67c40f3a59d8",
}
"""The two networks and their SHA-256: another teacher would teach something else."""

FULL_SCALE = 32768.0
AT_ONCE = 32

WET_SHARE = 0.5
"""Of the recordings that the pupil hears in a room; the teacher hears them without."""

REAL_VARIED_SHARE = 0.4
"""Of the recordings that are resampled; of synthetic speech all is, its speakers are few."""

PAUSE_S = (0.05, 0.5)
HISS = 1e-5
"""Noise of the microphone: digital silence between recordings is nothing that anybody hears."""


class Teacher:
    """The speech embedding.

    Raises
    ------
    RuntimeUnavailable
        Its package is missing, or holds other networks.
    """

    def __init__(self) -> None:
        spectrogram, embedding = (_read(name, digest) for name, digest in FILES.items())
        make = interpreter_module().Interpreter
        self._spectrogram = make(model_content=spectrogram, num_threads=1)
        self._embedding = make(model_content=embedding, num_threads=1)
        where = self._embedding.get_input_details()[0]["index"]
        self._embedding.resize_tensor_input(where, [AT_ONCE, SPAN_FRAMES, MEL_BANDS, 1])
        self._embedding.allocate_tensors()

    def __call__(self, pcm: FloatArray) -> FloatArray:
        """What each stretch sounds like.

        Parameters
        ----------
        pcm : ndarray, float32 [samples]
            Speech at 16 kHz.

        Returns
        -------
        ndarray, float32 [stretches, SIZE]
            Row r is about frames ``EVERY_FRAMES * r`` up to ``EVERY_FRAMES * r + SPAN_FRAMES``.
        """
        # Offset and scale with which the embedding was trained.
        mel = self._mel(pcm) / 10.0 + 2.0
        if len(mel) < SPAN_FRAMES:
            return np.empty((0, SIZE), np.float32)
        spans = np.lib.stride_tricks.sliding_window_view(mel, SPAN_FRAMES, axis=0)[::EVERY_FRAMES]
        spans = spans.transpose(0, 2, 1)[..., None]
        answers = []
        for first in range(0, len(spans), AT_ONCE):
            some = spans[first : first + AT_ONCE]
            filled = np.zeros((AT_ONCE, SPAN_FRAMES, MEL_BANDS, 1), np.float32)
            filled[: len(some)] = some
            answers.append(_run(self._embedding, filled).reshape(AT_ONCE, SIZE)[: len(some)])
        return np.concatenate(answers)

    def _mel(self, pcm: FloatArray) -> FloatArray:
        where = self._spectrogram.get_input_details()[0]["index"]
        self._spectrogram.resize_tensor_input(where, [1, len(pcm)], strict=False)
        self._spectrogram.allocate_tensors()
        return _run(self._spectrogram, pcm[None] * np.float32(FULL_SCALE)).reshape(-1, MEL_BANDS)


def _run(interpreter: Any, given: FloatArray) -> FloatArray:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given)
    interpreter.invoke()
    answer: FloatArray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return answer


def _read(name: str, digest: str) -> bytes:
    """One of the networks, from where the package was installed; its code is not run."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise RuntimeUnavailable(
            "the teacher needs the package 'pyopen-wakeword': pip install 'kwsd[train]', "
            "or train without it (--no-teacher)"
        )
    path = Path(found.origin).parent / "models" / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RuntimeUnavailable(f"{path}: cannot be read ({error}); install it again") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise RuntimeUnavailable(
            f"{path} is another network than the one that teaches: "
            "pip install 'pyopen-wakeword==1.1.0', or train without it (--no-teacher)"
        )
    return content


@lru_cache(maxsize=1)
def the_teacher() -> Teacher:
    """The one of this process."""
    return Teacher()


@dataclass(frozen=True)
class Lesson:
    """Speech as the pupil hears it, and what the teacher says of it."""

    frames: LogPower
    """float16 [frames, bands], log mel power; frames are a multiple of `EVERY_FRAMES`."""

    answers: NDArray[np.float16]
    """float16 [frames / EVERY_FRAMES, SIZE]: row i is about what ends with frame
    ``EVERY_FRAMES * i + LAST_FRAME``; NaN where there was too little to hear."""

    real: bool
    """People speak, no synthesizer."""

    phrase: int = -1
    """Which phrase people say in it; -1: anything else."""


def give_lesson(
    sounds: Sequence[Path | Part],
    real: bool,
    phrase: int,
    rooms: Sequence[Room],
    rng: np.random.Generator,
) -> Lesson | None:
    """Some recordings in a row; what cannot be read is left out, and nothing may be left.

    Parameters
    ----------
    sounds : sequence of Path or Part
        Recordings, stretches of them or renderings.
    real : bool
        Which of both.
    phrase : int
        What `Lesson.phrase` shall be.
    rooms : sequence of Room
        To put half of what the pupil hears into.
    rng : Generator
        Of all draws.
    """
    said: list[FloatArray] = []
    heard: list[FloatArray] = []
    for sound in sounds:
        try:
            clip = whole(read_audio(sound))
        except AudioError:
            continue  # listed when the pools are made
        if not real or rng.random() < REAL_VARIED_SHARE:
            clip = vary(clip, (), 0.0, rng)
        pause = np.zeros(int(rng.uniform(*PAUSE_S) * SAMPLE_RATE_HZ), np.float32)
        dry = wet = np.concatenate([clip.pcm, pause])
        if rooms and rng.random() < WET_SHARE:
            wet = convolve(dry, rooms[int(rng.integers(len(rooms)))].talker)[: len(dry)]
        said.append(dry)
        heard.append(wet)
    if not said:
        return None
    dry, wet = np.concatenate(said), np.concatenate(heard)
    hiss = rng.normal(0.0, HISS, len(dry)).astype(np.float32)
    frames = hear(wet + hiss)
    count = min(len(frames), len(dry) // HOP_SAMPLES) // EVERY_FRAMES
    answers = np.full((count, SIZE), np.nan, np.float16)
    given = the_teacher()(dry + hiss)
    first = (SPAN_FRAMES - 1) // EVERY_FRAMES
    given = given[: max(0, count - first)]
    answers[first : first + len(given)] = given
    return Lesson(frames[: count * EVERY_FRAMES], answers, real, phrase)
