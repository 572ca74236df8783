"""Words never recorded: what people who say a word get from a network that has heard none of them.

    python -m benchmarks.unheard_words PHRASE ... --unheard WORD ... --pools runs/pools-KEY.npz \\
        --data DATA [--lessons runs/lessons-KEY.npz] [--dev-negatives NEGATIVES] [--steps 3500] \\
        [--seed 1] [--work runs]

`PHRASE ...` are those of the `kwsmodel train` that made the pools, in its order, those `--beside`
last. The recordings of every `WORD` are taken out of the pools and of what the teacher hears, so it
is learnt from synthetic voices alone; then all of them, training part included, judge the network
as it is, against the development part of everything else. Printed are misses at 1, 0.5 and 0.1
false accepts an hour, of words as they are, by the running mean of the weights, at several points
of the training.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.ending import ended
from benchmarks.trial import Trial, make_parser, opened
from kwsd.errors import UsageError
from kwsd.evaluate.selection import Positive
from kwsd.evaluate.surroundings import QUIET
from kwsd.progress import Report
from kwsd.train.fit import fit
from kwsd.train.float_scores import development_curves
from kwsd.train.network import Network
from kwsd.train.pools import Pools
from kwsd.train.recordings import indexed, plain_folder
from kwsd.train.rehearsal import Rehearsal, miss_rates, rehearse


def without_people(trial: Trial, unheard: Sequence[int]) -> Trial:
    """The same without the recordings of some phrases; their synthetic sayings stay."""
    words = [word for word in trial.pools.words if not (word.real and word.phrase in unheard)]
    lessons = [lesson for lesson in trial.lessons if lesson.phrase not in unheard]
    return replace(trial, pools=Pools(words, trial.pools.negatives), lessons=lessons)


def judge_unheard(
    trial: Trial,
    rehearsal: Rehearsal,
    phrases: Sequence[str],
    report: Report,
) -> None:
    """Train, and report a line for each phrase of the rehearsal at each point of the training."""

    def cost(network: Network) -> float:
        costs = []
        for phrase, curve in development_curves(network, rehearsal).items():
            rates = miss_rates(curve)
            # From the highest rate of false accepts to the lowest.
            misses = " / ".join(f"{100 * rate:.1f}" for rate in reversed(rates))
            report(f"{phrases[phrase]} ({len(curve.positives)}): {misses} %")
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


def _rehearsal(args: argparse.Namespace) -> Rehearsal:
    words, others = [], []
    for split in ("train", "dev"):
        for recording in (r for folder in args.data for r in indexed(folder, args.phrases, split)):
            if recording.phrase in args.unheard:
                positive = Positive(recording.path, recording.speaker)
                words.append((args.phrases.index(recording.phrase), positive))
            elif split == "dev":
                others.append(recording)
    others += [r for folder in args.dev_negatives for r in plain_folder(folder, "speech")]
    rehearsal = rehearse(words, others, args.work, _say, [QUIET])
    if rehearsal is None:
        raise UsageError("no recordings of the words to judge by, or none of anything else")
    return rehearsal


def _say(line: str) -> None:
    print(line, flush=True)


def _run(args: argparse.Namespace) -> None:
    strange = [word for word in args.unheard if word not in args.phrases]
    if strange:
        raise UsageError(f"--unheard {strange[0]!r}: name one of {', '.join(args.phrases)}")
    left = without_people(opened(args), [args.phrases.index(word) for word in args.unheard])
    judge_unheard(left, _rehearsal(args), args.phrases, _say)


def main() -> int:
    """Train, judge and print."""
    parser = make_parser(__doc__, steps=3500)
    parser.add_argument("--unheard", nargs="+", required=True, metavar="WORD")
    return ended("unheard_words", _run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
