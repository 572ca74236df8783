"""Words never recorded: what people who say a word get from a network that has heard none of them.

    python -m benchmarks.unheard_words PHRASE ... --unheard WORD ... --pools runs/pools-KEY.npz \\
        --data DATA [--lessons runs/lessons-KEY.npz] [--dev-negatives NEGATIVES] [--steps 3500] \\
        [--seed 1] [--work runs]

`PHRASE ...` are those of the `kwsmodel train` that made the pools, in its order, those `--beside`
last. The recordings of every `WORD` are taken out of the pools and of what the teacher hears, so it
is learnt from synthetic voices alone; then all of them, training part included, judge the network
as it is, against the development part of everything else. Pools do not say who speaks, so other
recordings of the same people stay in them: people who train with other words are judged apart from
people who do not train at all, as anybody else does not. Printed are misses at 1, 0.5 and 0.1 false
accepts an hour, of words as they are, by the running mean of the weights, at several points of the
training.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.ending import ended
from benchmarks.trial import Trial, make_parser, opened
from kwsd.errors import UsageError
from kwsd.evaluate.curve import Curve
from kwsd.evaluate.index import voice
from kwsd.evaluate.selection import Positive
from kwsd.evaluate.surroundings import QUIET
from kwsd.progress import Report
from kwsd.train.fit import fit
from kwsd.train.float_scores import SOFTNESS, peaks, score_stream, smooth
from kwsd.train.network import Network
from kwsd.train.pools import Pools
from kwsd.train.recordings import Recording, indexed, plain_folder
from kwsd.train.rehearsal import Rehearsal, miss_rates, rehearse

PEOPLE = (
    "people who do not train",
    "people whose other recordings train",
    "people whom nobody named",
)
"""Who judges: what the training has heard of them, as far as the indexes of --data tell."""


def without_people(trial: Trial, unheard: Sequence[int]) -> Trial:
    """The same without the recordings of some phrases; their synthetic sayings stay.

    So do other recordings of the people who say them: pools do not tell who speaks.
    """
    words = [word for word in trial.pools.words if not (word.real and word.phrase in unheard)]
    lessons = [lesson for lesson in trial.lessons if lesson.phrase not in unheard]
    return replace(trial, pools=Pools(words, trial.pools.negatives), lessons=lessons)


@dataclass(frozen=True)
class Group:
    """Recordings of an unheard word by people of whom the training has heard alike."""

    phrase: int
    """The word."""

    people: str
    """One of `PEOPLE`."""

    positives: tuple[Positive, ...]
    """The recordings."""

    @property
    def speakers(self) -> int:
        """How many people they are of, where the index names them."""
        return len({positive.speaker for positive in self.positives} - {""})


def grouped(
    recordings: Sequence[Recording], phrases: Sequence[str], trained: Set[str]
) -> list[Group]:
    """Recordings of unheard words by word and by whether their speaker is one of `trained`."""
    found: dict[tuple[int, int], list[Positive]] = {}
    for recording in recordings:
        who = voice(recording.set, recording.speaker)
        people = 2 if not who else int(who in trained)
        positive = Positive(recording.path, who)
        found.setdefault((phrases.index(recording.phrase), people), []).append(positive)
    return [
        Group(phrase, PEOPLE[people], tuple(found[phrase, people]))
        for phrase, people in sorted(found)
    ]


def group_curves(
    network: Network, rehearsal: Rehearsal, groups: Sequence[Group]
) -> dict[Group, Curve]:
    """Misses against false accepts of each group whose recordings can be used.

    Parameters
    ----------
    network : Network
        Hears everything once.
    rehearsal : Rehearsal
        Its `phrases` are numbers of groups.
    groups : sequence of Group
        All groups of a word have the same negatives and so the same thresholds.
    """
    words, negatives = (
        smooth(score_stream(network, frames, softness=SOFTNESS))
        for frames in (rehearsal.words, rehearsal.negatives)
    )
    said = np.array([group.phrase for group in groups])[rehearsal.phrases]
    curves = {}
    for number, group in enumerate(groups):
        own = rehearsal.phrases == number
        if not own.any():
            continue
        # What the other groups of the word say is no false accept.
        heard = own | (said != group.phrase)
        part = replace(rehearsal, bounds=rehearsal.bounds[heard], phrases=said[heard])
        curves[group] = part.curves(
            lambda frames: words if frames is rehearsal.words else negatives,
            lambda scores: [height for height, _ in peaks(scores)],
        )[group.phrase]
    return curves


def judge_unheard(
    trial: Trial,
    rehearsal: Rehearsal,
    groups: Sequence[Group],
    phrases: Sequence[str],
    report: Report,
) -> None:
    """Train, and report a line for each group at each point of the training."""

    def cost(network: Network) -> float:
        costs = []
        for group, curve in group_curves(network, rehearsal, groups).items():
            rates = miss_rates(curve)
            # From the highest rate of false accepts to the lowest.
            misses = " / ".join(f"{100 * rate:.1f}" for rate in reversed(rates))
            report(
                f"{phrases[group.phrase]}, {group.people} (recordings: {len(curve.positives)}, "
                f"speakers: {group.speakers or 'not told'}): {misses} %"
            )
            costs += rates
        return float(np.mean(costs))

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        fit(
            trial.pools,
            trial.config,
            checkpoint,
            report,
            cost=cost,
            phrases=len(phrases),
            lessons=trial.lessons,
        )


def _asked(args: argparse.Namespace) -> tuple[list[Group], Rehearsal]:
    parts = {
        split: [r for folder in args.data for r in indexed(folder, args.phrases, split)]
        for split in ("train", "dev")
    }
    words = [r for part in parts.values() for r in part if r.phrase in args.unheard]
    trained = {voice(r.set, r.speaker) for r in parts["train"] if r.phrase not in args.unheard}
    groups = grouped(words, args.phrases, trained)
    others = [r for r in parts["dev"] if r.phrase not in args.unheard]
    others += [r for folder in args.dev_negatives for r in plain_folder(folder, "speech")]
    positives = [(i, positive) for i, group in enumerate(groups) for positive in group.positives]
    return groups, rehearse(positives, others, args.work, _say, [QUIET])


def _say(line: str) -> None:
    print(line, flush=True)


def _run(args: argparse.Namespace) -> None:
    strange = [word for word in args.unheard if word not in args.phrases]
    if strange:
        raise UsageError(f"--unheard {strange[0]!r}: name one of {', '.join(args.phrases)}")
    left = without_people(opened(args), [args.phrases.index(word) for word in args.unheard])
    groups, rehearsal = _asked(args)
    judge_unheard(left, rehearsal, groups, args.phrases, _say)


def main() -> int:
    """Train, judge and print."""
    parser = make_parser(__doc__, steps=3500)
    parser.add_argument("--unheard", nargs="+", required=True, metavar="WORD")
    return ended("unheard_words", _run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
