"""Words never recorded: what people who say a word get from a network that has heard none of them.

    python -m benchmarks.unheard_words PHRASE ... --unheard WORD ... --pools runs/pools-KEY.npz \\
        --data DATA [--dev-negatives NEGATIVES] [--steps 3500] [--seed 1] [--work runs]

`PHRASE ...` are those of the `kwsmodel train` that made the pools, in its order, those `--beside`
last. The recordings of every `WORD` are taken out of the pools, so it is learnt from synthetic
voices alone; then all of them, training part included, judge the network as it is, against the
development part of everything else. Printed are misses at 1, 0.5 and 0.1 false accepts an hour, of
words as they are, by the running mean of the weights, at several points of the training.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kwsd.errors import KwsdError, MissingFileError, UsageError
from kwsd.evaluate.curve import Curve
from kwsd.evaluate.selection import Positive
from kwsd.evaluate.surroundings import QUIET
from kwsd.train.command import DEFAULT_SPLICES
from kwsd.train.fit import FitConfig, fit
from kwsd.train.float_scores import development_curves
from kwsd.train.network import Network
from kwsd.train.pools import Pools, load
from kwsd.train.recordings import indexed, plain_folder
from kwsd.train.rehearsal import Rehearsal, mean_miss_rate, rehearse

RATES_PER_HOUR = (1.0, 0.5, 0.1)


def without_people(pools: Pools, unheard: Sequence[int]) -> Pools:
    """Pools without the recordings of some phrases; their synthetic sayings stay."""
    words = [word for word in pools.words if not (word.real and word.phrase in unheard)]
    return Pools(words, pools.negatives)


def judge_unheard(
    pools: Pools,
    rehearsal: Rehearsal,
    phrases: Sequence[str],
    config: FitConfig,
    report: Callable[[str], None],
) -> None:
    """Train, and report a line for each phrase of the rehearsal at each point of the training."""

    def cost(network: Network) -> float:
        curves = development_curves(network, rehearsal)
        for phrase, curve in curves.items():
            report(f"{phrases[phrase]} ({len(curve.positives)}): {_misses(curve)} %")
        return float(np.mean([mean_miss_rate(curve) for curve in curves.values()]))

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        fit(pools, config, checkpoint, report, cost=cost, phrases=len(phrases))


def _misses(curve: Curve) -> str:
    points = [curve.at_rate(rate) or curve.at_none_seen() for rate in RATES_PER_HOUR]
    return " / ".join(f"{100 * point.miss_rate:.1f}" for point in points)


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
    if args.steps < 10:
        raise UsageError(f"--steps {args.steps}: 10 or more are needed")
    if not args.pools.is_file():
        raise MissingFileError(f"{args.pools} is not there: kwsmodel train keeps pools in --work")
    pools = load(args.pools)
    said = max(word.phrase for word in pools.words) + 1
    if said != len(args.phrases):
        raise UsageError(f"{args.pools} holds {said} phrases, {len(args.phrases)} are named")
    left = without_people(pools, [args.phrases.index(word) for word in args.unheard])
    config = FitConfig(args.steps, seed=args.seed, splice_share=DEFAULT_SPLICES, loaders=1)
    judge_unheard(left, _rehearsal(args), args.phrases, config, _say)


def main() -> int:
    """Train, judge and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("phrases", nargs="+", metavar="PHRASE")
    parser.add_argument("--unheard", nargs="+", required=True, metavar="WORD")
    parser.add_argument("--pools", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--dev-negatives", type=Path, action="append", default=[])
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs"))
    args = parser.parse_args()
    try:
        _run(args)
    except KwsdError as error:
        print(f"unheard_words: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
