"""Judge: every recording of a selection through the chain, on one or more processes.

What a job gives depends on the selection, the seed and the job's number alone, so neither the
number of workers nor the order in which they finish changes a figure, nor do other models that
hear the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kwsd.config_schema import WakeSettings
from kwsd.errors import AudioError
from kwsd.evaluate.curve import peak_after, peaks
from kwsd.evaluate.jobs import NEGATIVE, POSITIVE, Job, check_enough
from kwsd.evaluate.result import Heard, Peak, Result
from kwsd.evaluate.scoring import Scorer, Track, detections, sensitivity_config
from kwsd.evaluate.stage import Reel, Utterance, stage_reel, stage_utterance
from kwsd.evaluate.surroundings import QUIET, Surroundings
from kwsd.model.package import ModelPackage, load_package
from kwsd.worker_pool import worker_pool

Advance = Callable[[float], None]


class Outcome(NamedTuple):
    """What one job gives."""

    heard: list[Heard]
    peaks: list[Peak]
    wakes: dict[str, int]
    negative_s: float
    skipped: list[str]


class Bench:
    """The tools of one process: open models, their sensitivities, the surroundings."""

    def __init__(self, scorer: Scorer, surroundings: Surroundings, seed: int) -> None:
        self.scorer = scorer
        self.surroundings = surroundings
        self.seed = seed
        self._decisions = [
            {
                name: sensitivity_config(scorer.config, package, name)
                for name in package.sensitivities
            }
            for package in scorer.packages
        ]

    def run(self, job: Job, which: Sequence[int] = (0,)) -> list[Outcome]:
        """Let some of the models hear the recordings of a job; one outcome of each."""
        if job.kind == POSITIVE:
            return self._positives(job, which)
        return self._negatives(job, which)

    def _positives(self, job: Job, which: Sequence[int]) -> list[Outcome]:
        heard: list[list[Heard]] = [[] for _ in which]
        skipped: list[str] = []
        for offset, (part, speaker) in enumerate(zip(job.parts, job.speakers, strict=True)):
            # A zero at the end changes nothing: the first draw is what a single one is.
            rng = np.random.default_rng([self.seed, POSITIVE, job.number + offset, job.draw])
            try:
                utterance = stage_utterance(part, self.surroundings, rng)
            except AudioError as error:
                skipped.append(str(error))
                continue
            tracks = self.scorer.score(utterance.pcm, utterance.reference, which)
            fraction = self.scorer.config.wake.rearm_fraction
            for own, number, track in zip(heard, which, tracks, strict=True):
                heights = track.undisputed(fraction)
                woke = frozenset(
                    name
                    for name, config in self._decisions[number].items()
                    if any(d.sample >= utterance.onset_sample for d in detections(track, config))
                )
                own.append(
                    Heard(
                        part.path,
                        speaker,
                        peak_after(track.end_samples, heights, utterance.onset_sample),
                        _rise(track.end_samples, heights, utterance),
                        woke,
                    )
                )
        return [Outcome(own, [], {}, 0.0, skipped) for own in heard]

    def _negatives(self, job: Job, which: Sequence[int]) -> list[Outcome]:
        rng = np.random.default_rng([self.seed, NEGATIVE, job.number])
        reel = stage_reel(job.parts, self.surroundings, rng)
        if not reel.parts:
            return [Outcome([], [], {}, 0.0, list(reel.skipped)) for _ in which]
        outcomes = []
        tracks = self.scorer.score(reel.pcm, reel.reference, which)
        for number, track in zip(which, tracks, strict=True):
            found = [
                Peak(part.path, round(time_s, 3), height)
                for at, height in _peaks(track, self.scorer.config.wake, reel)
                for part, time_s in (reel.place(at),)
            ]
            wakes = {
                name: sum(len(detections(piece, config)) for piece in _pieces(track, reel))
                for name, config in self._decisions[number].items()
            }
            outcomes.append(Outcome([], found, wakes, reel.seconds, list(reel.skipped)))
        return outcomes


def _pieces(track: Track, reel: Reel) -> Iterator[Track]:
    columns = (track.end_samples, track.smoothed, track.levels_dbfs, track.reference)
    for piece in reel.apart(*columns):
        yield Track(*piece)


def _peaks(track: Track, wake: WakeSettings, reel: Reel) -> Iterator[tuple[int, float]]:
    for piece in _pieces(track, reel):
        heights = piece.undisputed(wake.rearm_fraction)
        for at, height in zip(*peaks(piece.end_samples, heights, wake.refractory_s), strict=True):
            yield int(at), float(height)


def _rise(
    ends: NDArray[np.int64], scores: NDArray[np.float64], utterance: Utterance
) -> tuple[tuple[int, float], ...]:
    """Where the score reached a new height after the start of the word."""
    inside = ends >= utterance.onset_sample
    samples, heights = ends[inside], scores[inside]
    best = np.maximum.accumulate(np.concatenate([[0.0], heights]))
    new = heights > best[:-1]
    return tuple(
        (int(sample) - utterance.end_sample, float(height))
        for sample, height in zip(samples[new], heights[new], strict=True)
    )


class Question(NamedTuple):
    """What one model is asked."""

    package: ModelPackage
    """The model."""

    jobs: Sequence[Job]
    """From `kwsd.evaluate.jobs.plan`; `repeated` for several draws."""

    skipped: Sequence[str]
    """What `plan` could not open."""


class _Task(NamedTuple):
    """A job, and which models hear it."""

    job: Job
    which: tuple[int, ...]


_bench: Bench | None = None


def _start(packages: Sequence[Path], surroundings: Surroundings, seed: int) -> None:
    global _bench
    _bench = Bench(Scorer([load_package(package) for package in packages]), surroundings, seed)


def _work(task: _Task) -> list[Outcome]:
    assert _bench is not None
    return _bench.run(*task)


def _outcomes(
    tasks: Sequence[_Task],
    packages: Sequence[ModelPackage],
    surroundings: Surroundings,
    seed: int,
    workers: int,
) -> Iterator[list[Outcome]]:
    if workers == 1:
        bench = Bench(Scorer(packages), surroundings, seed)
        try:
            yield from (bench.run(*task) for task in tasks)
        finally:
            bench.scorer.close()
        return
    # What is wrong with a model is said here, not by a broken pool.
    Scorer(packages).close()
    started = ([package.path for package in packages], surroundings, seed)
    with worker_pool(workers, _start, started) as pool:
        yield from pool.map(_work, tasks)


def judge(
    questions: Sequence[Question],
    surroundings: Surroundings = QUIET,
    *,
    seed: int = 0,
    workers: int = 1,
    advance: Advance = lambda seconds: None,
) -> list[Result]:
    """Let each model hear its selection; what several are asked alike is played once.

    Parameters
    ----------
    questions : sequence of Question
        One for each model.
    surroundings : Surroundings
        What all recordings are put into.
    seed : int
        Of every random choice.
    workers : int
        Processes.
    advance : function
        Called with the seconds of recordings that are done.

    Returns
    -------
    list of Result
        One for each question, the same as if it had been asked alone.

    Raises
    ------
    AudioError
        Too little can be used.
    ModelError, RuntimeUnavailable
        A model cannot run.
    """
    hearers: dict[Job, list[int]] = {}
    for number, question in enumerate(questions):
        for job in question.jobs:
            hearers.setdefault(job, []).append(number)
    tasks = [_Task(job, tuple(which)) for job, which in hearers.items()]
    packages = [question.package for question in questions]
    found: list[dict[Job, Outcome]] = [{} for _ in questions]
    outcomes = _outcomes(tasks, packages, surroundings, seed, workers)
    for (job, which), answers in zip(tasks, outcomes, strict=True):
        for number, outcome in zip(which, answers, strict=True):
            found[number][job] = outcome
        advance(job.seconds)
    return [
        gather(question.jobs, [own[job] for job in question.jobs], question.skipped)
        for question, own in zip(questions, found, strict=True)
    ]


def gather(jobs: Sequence[Job], outcomes: Iterable[Outcome], skipped: Sequence[str]) -> Result:
    """Put the outcomes of all jobs, in their order, together."""
    heard: list[Heard] = []
    found: list[Peak] = []
    wakes: dict[str, int] = {}
    left_out = list(skipped)
    seconds = 0.0
    for job, outcome in zip(jobs, outcomes, strict=True):
        heard += outcome.heard
        found += outcome.peaks
        seconds += outcome.negative_s
        # A recording that cannot be used is said once.
        left_out += outcome.skipped if job.draw == 0 else []
        for name, count in outcome.wakes.items():
            wakes[name] = wakes.get(name, 0) + count
    draws = 1 + max(job.draw for job in jobs)
    check_enough(len(heard) // draws, seconds)
    found.sort(key=lambda peak: -peak.score)
    return Result(tuple(heard), tuple(found), wakes, seconds / 3600, tuple(left_out), draws)
