"""Rehearsal: development recordings as mel power, so that a float network is judged in seconds.

Staged as the evaluation does it and passed through the detector branch once; negatives are kept
per collection, so that the next word finds them ready. Words are heard as they are, far away in
rooms, in noise and over the device's own playback: misses of clean words alone are too few to tell
checkpoints apart. Negatives are heard as they are and far away: a network that is seldom wrong
about speech close by may often be about speech in a room (docs/benchmarks/training_trials.md).
The figures choose a checkpoint only; what a card states comes from the int8 model through the
whole chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.features import BANDS
from kwsd.errors import AudioError, UsageError
from kwsd.evaluate.curve import Curve
from kwsd.evaluate.noise import NoisePool
from kwsd.evaluate.recording import Part, parts_of, saying
from kwsd.evaluate.rooms import FAR_FIELD, simulate_rooms
from kwsd.evaluate.selection import Positive
from kwsd.evaluate.stage import stage_reel, stage_utterance, wind_reels
from kwsd.evaluate.surroundings import QUIET, Surroundings
from kwsd.progress import Report
from kwsd.train.file_stamp import stamp
from kwsd.train.layers import STRIDE
from kwsd.train.listen import LogPower, hear, join
from kwsd.train.pools import recipe_key
from kwsd.train.recordings import Recording
from kwsd.train.stored import read_stored
from kwsd.train.work_file import work_file
from kwsd.worker_pool import worker_pool

FloatArray = NDArray[np.float32]

FRAMES_A_SECOND = 100
NOISE_SNR_DB = 10.0
PLAYBACK_SER_DB = -15.0
ROOMS = 16
LEAD_FRAMES = 400
"""Kept in front of a word, for the features and the network to settle."""

HEARD = 1
"""Raise it where the detector branch or its features change: what was heard before is not used."""

RATES_PER_HOUR = (0.1, 0.5, 1.0)
"""False-accept rates at which misses count, equally, for the choice of a checkpoint."""


@dataclass(frozen=True)
class Rehearsal:
    """What a float network is judged by."""

    words: LogPower
    """Positives one after the other, float16 [frames, bands]."""

    bounds: NDArray[np.int64]
    """int64 [positives, 2]: frames from which to which each word may be found."""

    phrases: NDArray[np.int64]
    """int64 [positives]: which phrase each says."""

    negatives: LogPower
    """All negatives in one stream, once in each place, float16 [frames, bands]."""

    hours: float
    """Their length, pauses not counted."""

    said: Counter[int] = field(default_factory=Counter)
    """How many words of each phrase can be heard."""

    negatives_s: float = 0.0
    """Length of the negatives that can be heard, once."""

    def curves(
        self,
        smoothed: Callable[[LogPower], FloatArray],
        heights: Callable[[FloatArray], list[float]],
    ) -> dict[int, Curve]:
        """Misses against false accepts of each phrase of which there are positives.

        What says another phrase counts against a phrase, as any other recording does.

        Parameters
        ----------
        smoothed : callable
            From frames to smoothed scores, float32 [steps, phrases].
        heights : callable
            From those of one phrase over the negatives to the heights of separate peaks.
        """
        said, others = smoothed(self.words), smoothed(self.negatives)
        best = np.array([said[a // STRIDE : b // STRIDE].max(axis=0) for a, b in self.bounds])
        lengths_h = (self.bounds[:, 1] - self.bounds[:, 0]) / FRAMES_A_SECOND / 3600
        curves = {}
        for phrase in sorted(set(self.phrases.tolist())):
            own = self.phrases == phrase
            wrong = heights(others[:, phrase]) + best[~own, phrase].tolist()
            hours = self.hours + float(lengths_h[~own].sum())
            curves[phrase] = Curve(best[own, phrase].tolist(), wrong, hours)
        return curves


def miss_rates(curve: Curve) -> list[float]:
    """Misses at each of `RATES_PER_HOUR`; an unresolvable rate counts as none seen."""
    points = [curve.at_rate(rate) or curve.at_none_seen() for rate in RATES_PER_HOUR]
    return [point.miss_rate for point in points]


def mean_miss_rate(curve: Curve) -> float:
    """Misses averaged over `RATES_PER_HOUR`."""
    return float(np.mean(miss_rates(curve)))


def rehearse(
    positives: Sequence[tuple[int, Positive]],
    negatives: Sequence[Recording],
    folder: Path,
    report: Report,
    surroundings: Sequence[Surroundings] | None = None,
    workers: int = 1,
) -> Rehearsal:
    """Prepare the development recordings.

    Parameters
    ----------
    positives : sequence of (int, Positive)
        Number of a phrase and a recording of it.
    negatives : sequence of Recording
        Anything else.
    folder : Path
        Gets one file a collection of negatives.
    report : callable
        Gets one line.
    surroundings : sequence of Surroundings, optional
        In which words are heard, and negatives where there is neither noise nor playback; by
        default quiet, rooms, and noise and playback from the sounds among the negatives.
    workers : int
        Processes that hear negatives; they change nothing in the result.

    Returns
    -------
    Rehearsal

    Raises
    ------
    AudioError
        No word can be heard, or nothing else.
    """
    noises = [recording.path for recording in negatives if recording.role == "noise"]
    everywhere = surroundings or _surroundings(noises)
    words: list[LogPower] = []
    bounds: list[tuple[int, int]] = []
    phrases: list[int] = []
    said: Counter[int] = Counter()
    at = 0
    for staging, around in enumerate(everywhere):
        for number, (phrase, positive) in enumerate(positives):
            try:
                rng = np.random.default_rng([staging, number])
                staged = stage_utterance(saying(positive.path), around, rng)
            except (AudioError, UsageError):
                continue  # the evaluation lists it
            frames = hear(staged.pcm, staged.reference)
            onset = staged.onset_sample * FRAMES_A_SECOND // SAMPLE_RATE_HZ
            first = max(0, onset - LEAD_FRAMES)
            words.append(frames[first:])
            phrases.append(phrase)
            said[phrase] += around is everywhere[0]
            bounds.append((at + onset - first, at + len(frames) - first))
            at += len(frames) - first
    streams, lengths_s = _others(negatives, everywhere, folder, report, workers)
    hours = sum(lengths_s) / 3600
    report(f"development: {len(words)} words in all surroundings, {hours:.2f} h of negatives")
    if not words or not streams:
        lacking = "anything but the words" if words else "the words"
        raise AudioError(
            f"no development recording of {lacking} can be used: all are silent or unreadable"
        )
    return Rehearsal(
        np.concatenate(words),
        np.array(bounds),
        np.array(phrases),
        join(streams),
        hours,
        said,
        lengths_s[0],
    )


def _surroundings(noises: Sequence[Path]) -> list[Surroundings]:
    """Quiet and rooms; with sounds to draw from also noise, and playback in rooms."""
    rooms = tuple(simulate_rooms(ROOMS, np.random.default_rng(ROOMS), FAR_FIELD))
    places = [QUIET, Surroundings(rooms=rooms, far=True)]
    if not noises:
        return places
    return [
        *places,
        Surroundings(noise=NoisePool(noises, NOISE_SNR_DB)),
        Surroundings(rooms=rooms, playback=NoisePool(noises, PLAYBACK_SER_DB)),
    ]


def _others(
    negatives: Sequence[Recording],
    everywhere: Sequence[Surroundings],
    folder: Path,
    report: Report,
    workers: int,
) -> tuple[list[LogPower], list[float]]:
    """Frames of all collections, held by the list alone, and seconds of each place."""
    streams: list[LogPower] = []
    lengths_s: list[float] = []
    collections: dict[str, list[Path]] = {}
    for recording in negatives:
        collections.setdefault(recording.set, []).append(recording.path)
    for around in everywhere:
        if around.noise is None and around.playback is None:
            lengths_s.append(0.0)
            for paths in collections.values():
                heard, length_s = _collection(paths, around, folder, report, workers)
                streams += heard
                lengths_s[-1] += length_s
    return streams, lengths_s


def _heard_before(stored: Path) -> tuple[list[LogPower], float]:
    with np.load(stored, allow_pickle=False) as arrays:
        return [arrays["frames"]], float(arrays["seconds"])


def _collection(
    paths: Sequence[Path], around: Surroundings, folder: Path, report: Report, workers: int
) -> tuple[list[LogPower], float]:
    """Frames and seconds of one collection, from the folder if they were made before."""
    place = ["far", len(around.rooms)] if around.far else []
    stored = folder / f"heard-{recipe_key([HEARD, *map(stamp, paths), *place])}.npz"
    before = read_stored(stored, _heard_before, report)
    if before is not None:
        return before
    parts: list[Part] = []
    for path in paths:
        try:
            parts += parts_of(path)
        except AudioError:
            continue  # the evaluation lists it
    heard: list[LogPower] = []
    seconds = 0.0
    with worker_pool(workers, _start, (around,)) as pool:
        for frames, length_s in pool.map(_hear_reel, enumerate(wind_reels(parts))):
            if length_s > 0:
                heard.append(frames)
                seconds += length_s
    if not heard:
        return [], 0.0
    frames = join(heard)
    with work_file(stored) as unfinished:
        np.savez(unfinished, frames=frames, seconds=seconds)
    return [frames], seconds


_around = QUIET


def _start(around: Surroundings) -> None:
    global _around
    _around = around


def _hear_reel(job: tuple[int, list[Part]]) -> tuple[LogPower, float]:
    number, parts = job
    reel = stage_reel(parts, _around, np.random.default_rng([number]))
    frames = hear(reel.pcm) if reel.parts else np.empty((0, BANDS), np.float16)
    return frames, reel.seconds
