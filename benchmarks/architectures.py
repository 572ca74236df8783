"""Kinds of network: short trainings on the same pools, told apart by development recordings.

    python -m benchmarks.architectures PHRASE ... --pools runs/pools-KEY.npz --data DATA \\
        [--lessons runs/lessons-KEY.npz] [--dev-negatives NEGATIVES] [--kinds dense banded deep] \\
        [--steps 2100] [--work runs]

`PHRASE ...` are those of the `kwsmodel train` that made the pools, in its order. Every kind sees
the same batches from the same seed. Printed is what chooses a checkpoint in training: the mean miss
rate over phrases, false-accept rates (0.1, 0.5 and 1 an hour) and surroundings (quiet, noise,
playback), of the running mean of the weights, at several points of the training. One point of the
training differs from the next by a point or so: smaller differences say nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ending import ended
from benchmarks.trial import Trial, make_parser, opened
from kwsd.errors import UsageError
from kwsd.evaluate.selection import Positive
from kwsd.progress import Report
from kwsd.train.fit import fit
from kwsd.train.float_scores import development_cost
from kwsd.train.network import Network, Shape, to_float_net
from kwsd.train.recordings import indexed, plain_folder
from kwsd.train.rehearsal import Rehearsal, rehearse

KINDS = {
    "dense": Shape(filters=()),
    "banded": Shape(),
    "coarse": Shape(filters=((16, 8, 4),)),
    "deep": Shape(filters=((16, 6, 2), (32, 4, 2), (32, 3, 1))),
    "narrow": Shape(channels=56),
    "wide": Shape(channels=104),
    "brief": Shape(kernels=(5, 5, 9, 9, 9), dilations=(1, 1, 1, 1, 2)),
    "small-steps": Shape(
        channels=64, kernels=(5, 5, 5, 9, 9, 9, 13), dilations=(1, 1, 1, 1, 1, 1, 2)
    ),
}
"""Dense is a stem whose filters span all bands; the others share theirs over the bands."""


@dataclass(frozen=True)
class Outcome:
    """What came of one kind."""

    kind: str
    """Key of `KINDS`."""

    parameters: int
    """Of a network with one phrase."""

    multiplies: int
    """Multiply-accumulates of a step of 20 ms."""

    costs: tuple[float, ...]
    """Mean miss rate at each point of the training."""


def compare(
    trial: Trial,
    rehearsal: Rehearsal,
    phrases: int,
    kinds: dict[str, Shape],
    report: Report,
) -> Iterator[Outcome]:
    """Train every kind, one after the other."""
    for kind, shape in kinds.items():
        costs: list[float] = []

        def cost(network: Network, costs: list[float] = costs) -> float:
            costs.append(development_cost(network, rehearsal))
            return costs[-1]

        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "checkpoint.pt"
            network = fit(
                trial.pools, trial.config, checkpoint, report, shape, cost, phrases, trial.lessons
            )
        net = to_float_net(network)
        yield Outcome(kind, net.parameters, net.multiplies_per_step, tuple(costs))


def _rehearsal(args: argparse.Namespace) -> Rehearsal:
    recordings = [r for folder in args.data for r in indexed(folder, args.phrases, "dev")]
    recordings += [r for folder in args.dev_negatives for r in plain_folder(folder, "speech")]
    words = [
        (args.phrases.index(r.phrase), Positive(r.path, r.speaker))
        for r in recordings
        if r.role == "positive"
    ]
    others = [r for r in recordings if r.role != "positive"]
    return rehearse(words, others, args.work, _say)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _run(args: argparse.Namespace) -> None:
    unknown = [kind for kind in args.kinds if kind not in KINDS]
    if unknown:
        raise UsageError(f"no kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    given = opened(args)
    kinds = {kind: KINDS[kind] for kind in args.kinds}
    for found in compare(given, _rehearsal(args), len(args.phrases), kinds, _say):
        costs = " / ".join(f"{100 * cost:.1f}" for cost in found.costs)
        print(
            f"{found.kind}: {found.parameters} parameters, {found.multiplies} multiplies a step, "
            f"mean miss rate {costs} %",
            flush=True,
        )


def main() -> int:
    """Compare and print."""
    parser = make_parser(__doc__, steps=2100)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), metavar="KIND")
    return ended("architectures", _run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
