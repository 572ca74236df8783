"""Jobs: a selection cut into pieces of work, some positives or a reel of negatives each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kwsd.errors import AudioError
from kwsd.evaluate.recording import Part, parts_of, saying
from kwsd.evaluate.selection import Positive, Selection
from kwsd.evaluate.stage import wind_reels

MIN_POSITIVES = 5
MIN_NEGATIVES_S = 60.0
_POSITIVES_A_JOB = 8
POSITIVE, NEGATIVE = 0, 1


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
            positives.append((saying(positive.path), positive))
        except AudioError as error:
            skipped.append(str(error))
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
                POSITIVE,
                number,
                tuple(part for part, _ in some),
                tuple(positive.speaker for _, positive in some),
            )
        )
    reels = enumerate(wind_reels(negatives))
    jobs += [Job(NEGATIVE, number, tuple(reel), ()) for number, reel in reels]
    return jobs, skipped


def repeated(jobs: Sequence[Job], draws: int) -> list[Job]:
    """The same with all positives once a draw, each time in another room, noise or playback."""
    again = [
        job._replace(draw=draw) for draw in range(1, draws) for job in jobs if job.kind == POSITIVE
    ]
    return [*jobs, *again]


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
