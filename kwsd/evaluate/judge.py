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

from kwsd.errors import AudioError
from kwsd.evaluate.curve import peak_after, peaks
from kwsd.evaluate.recording import Part, parts_of
from kwsd.evaluate.result import Heard, Peak, Result
from kwsd.evaluate.scoring import Scorer, Track, detections, sensitivity_config
from kwsd.evaluate.selection import Positive, Selection
from kwsd.evaluate.stage import stage_reel, stage_utterance, wind_reels
from kwsd.evaluate.surroundings import QUIET, Surroundings
from kwsd.model.package import ModelPackage, load_package
from kwsd.worker_pool import worker_pool

MIN_POSITIVES = 5
MIN_NEGATIVES_S = 60.0
_POSITIVES_A_JOB = 8
_POSITIVE, _NEGATIVE = 0, 1

Advance = Callable[[float], None]


class Job(NamedTuple):
    """Work for one process: some positives or one reel of negatives."""

    kind: int
    """Positives or negatives."""

    number: int
    """Position of the first item; with the seed and the draw it determines every random choice."""

    parts: tuple[Part, ...]
    """Recordings."""

    speakers: tuple[str, ...]
    """Of the positives."""

    draw: int = 0
    """How often they were heard before."""

    @property
    def seconds(self) -> float:
        """Length of the recordings."""
        return sum(part.seconds for part in self.parts)


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
        if job.kind == _POSITIVE:
            return self._positives(job, which)
        return self._negatives(job, which)

    def _positives(self, job: Job, which: Sequence[int]) -> list[Outcome]:
        heard: list[list[Heard]] = [[] for _ in which]
        skipped: list[str] = []
        for offset, (part, speaker) in enumerate(zip(job.parts, job.speakers, strict=True)):
            # A zero at the end changes nothing: the first draw is what a single one is.
            rng = np.random.default_rng([self.seed, _POSITIVE, job.number + offset, job.draw])
            try:
                utterance = stage_utterance(part, self.surroundings, rng)
            except AudioError as error:
                skipped.append(str(error))
                continue
            tracks = self.scorer.score(utterance.pcm, utterance.reference, which)
            for own, number, track in zip(heard, which, tracks, strict=True):
                woke = frozenset(
                    name
                    for name, config in self._decisions[number].items()
                    if any(d.sample >= utterance.onset_sample for d in detections(track, config))
                )
                own.append(
                    Heard(
                        part.path,
                        speaker,
                        peak_after(track.end_samples, track.smoothed, utterance.onset_sample),
                        _rise(track, utterance.onset_sample, utterance.end_sample),
                        woke,
                    )
                )
        return [Outcome(own, [], {}, 0.0, skipped) for own in heard]

    def _negatives(self, job: Job, which: Sequence[int]) -> list[Outcome]:
        rng = np.random.default_rng([self.seed, _NEGATIVE, job.number])
        reel = stage_reel(list(job.parts), self.surroundings, rng)
        if not reel.parts:
            return [Outcome([], [], {}, 0.0, list(reel.skipped)) for _ in which]
        outcomes = []
        tracks = self.scorer.score(reel.pcm, reel.reference, which)
        for number, track in zip(which, tracks, strict=True):
            found = [
                Peak(part.path, round(time_s, 3), float(height))
                for at, height in zip(*peaks(track.end_samples, track.smoothed), strict=True)
                for part, time_s in (reel.place(int(at)),)
            ]
            wakes = {
                name: len(detections(track, config))
                for name, config in self._decisions[number].items()
            }
            outcomes.append(Outcome([], found, wakes, reel.seconds, list(reel.skipped)))
        return outcomes


def _rise(track: Track, onset: int, end: int) -> tuple[tuple[int, float], ...]:
    """Where the score reached a new height after the start of the word."""
    inside = track.end_samples >= onset
    samples, heights = track.end_samples[inside], track.smoothed[inside]
    best = np.maximum.accumulate(np.concatenate([[0.0], heights]))
    new = heights > best[:-1]
    return tuple(
        (int(sample) - end, float(height))
        for sample, height in zip(samples[new], heights[new], strict=True)
    )


def plan(selection: Selection) -> tuple[list[Job], list[str]]:
    """Jobs of a selection, and what cannot even be opened.

    Raises
    ------
    AudioError
        Too little that can be opened.
    """
    skipped: list[str] = []
    positives: list[tuple[Part, Positive]] = []
    for positive in selection.positives:
        try:
            first, *more = parts_of(positive.path)
        except AudioError as error:
            skipped.append(str(error))
            continue
        if more:
            skipped.append(
                f"{positive.path} is {first.seconds * (1 + len(more)):.0f} s long: "
                "a positive holds the word once; cut it out"
            )
            continue
        positives.append((first, positive))
    negatives: list[Part] = []
    for path in selection.negatives:
        try:
            negatives += parts_of(path)
        except AudioError as error:
            skipped.append(str(error))
    check_enough(len(positives), sum(part.seconds for part in negatives))
    jobs = []
    for number in range(0, len(positives), _POSITIVES_A_JOB):
        some = positives[number : number + _POSITIVES_A_JOB]
        jobs.append(
            Job(
                _POSITIVE,
                number,
                tuple(part for part, _ in some),
                tuple(positive.speaker for _, positive in some),
            )
        )
    reels = enumerate(wind_reels(negatives))
    jobs += [Job(_NEGATIVE, number, tuple(reel), ()) for number, reel in reels]
    return jobs, skipped


def check_enough(positives: int, negatives_s: float) -> None:
    """Refuse to judge by next to nothing (`AudioError`)."""
    if positives < MIN_POSITIVES:
        raise AudioError(
            f"{positives} usable positives: at least {MIN_POSITIVES} are needed to say anything "
            "about misses, 100 or more to say it well"
        )
    if negatives_s < MIN_NEGATIVES_S:
        raise AudioError(
            f"{negatives_s:.0f} s of usable negatives: at least {MIN_NEGATIVES_S:.0f} s are "
            "needed, 10 hours or more to show one false accept in 10 hours"
        )


class Question(NamedTuple):
    """What one model is asked."""

    package: ModelPackage
    """The model."""

    jobs: Sequence[Job]
    """From `plan`; `repeated` for several draws."""

    skipped: Sequence[str]
    """From `plan`."""


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
    # With several workers, too: what is wrong with a model is said here, not by a broken pool.
    bench = Bench(Scorer(packages), surroundings, seed)
    try:
        if workers == 1:
            yield from (bench.run(*task) for task in tasks)
            return
    finally:
        bench.scorer.close()
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


def repeated(jobs: Sequence[Job], draws: int) -> list[Job]:
    """The same with all positives once a draw, each time in another room, noise or playback."""
    again = [
        job._replace(draw=draw) for draw in range(1, draws) for job in jobs if job.kind == _POSITIVE
    ]
    return [*jobs, *again]


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
