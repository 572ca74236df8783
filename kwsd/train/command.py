"""`kwsmodel train`: one seeded command from a phrase to a package."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from kwsd.errors import ConfigError, RuntimeUnavailable, UsageError
from kwsd.train.phrase import plain_name
from kwsd.train.quantise import PRECISIONS
from kwsd.train.recordings import Recording, indexed, plain_folder, same_word

DEFAULT_STEPS = 3500
DEFAULT_SPLICES = 0.3
DEFAULT_BULK_HOURS = 6.0
DEFAULT_RENDERINGS = {"positive": 900, "near": 300, "other": 60}


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="train a wake word",
        description="Train a wake word from synthetic speech and recordings, choose thresholds on "
        "development recordings and write a complete model package. The same command with the same "
        "data gives the same package. Interrupted, it goes on where it stopped.",
    )
    parser.add_argument("phrase", help='what is said, such as "computer"')
    parser.add_argument("--out", type=Path, help="package folder (default: models/NAME)")
    parser.add_argument("--name", help="name of the model (default: from the phrase)")
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        help="data folder with an index.csv whose column split says train or dev; repeatable",
    )
    parser.add_argument(
        "--positives",
        type=Path,
        action="append",
        default=[],
        help="folder of recordings of the phrase, all for training; repeatable",
    )
    parser.add_argument(
        "--negatives",
        type=Path,
        action="append",
        default=[],
        help="folder of recordings without the phrase, all for training; repeatable",
    )
    parser.add_argument(
        "--dev-positives", type=Path, action="append", default=[], help="for the thresholds only"
    )
    parser.add_argument(
        "--dev-negatives", type=Path, action="append", default=[], help="for the thresholds only"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("runs"), help="corpus, pools, checkpoints (default: runs)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS, help="training batches")
    parser.add_argument(
        "--renderings",
        type=int,
        default=DEFAULT_RENDERINGS["positive"],
        help="synthetic positives; near phrases and other speech in proportion",
    )
    parser.add_argument(
        "--other-phrase",
        action="append",
        default=[],
        metavar="PHRASE",
        help="render this phrase as well and take everything of it as negatives; repeatable",
    )
    parser.add_argument(
        "--no-synthesis", action="store_true", help="train on recordings alone, without voices"
    )
    parser.add_argument(
        "--splices",
        type=float,
        default=DEFAULT_SPLICES,
        metavar="SHARE",
        help="share of the negatives that are speech cut up and joined anew, 0 to 0.9 "
        "(default: 0.3)",
    )
    parser.add_argument(
        "--bulk-hours",
        type=float,
        default=DEFAULT_BULK_HOURS,
        metavar="HOURS",
        help="synthetic speech of random words as negatives, 0 to 100 (default: 6)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="int8",
        help="int8, or mixed: last layer and probability in int16 (default: int8)",
    )
    parser.add_argument("--rooms", type=int, default=100, help="simulated rooms")
    parser.add_argument("--workers", type=int, default=2, help="processes for speech and judging")
    parser.set_defaults(run=run)


def _gather(args: argparse.Namespace, split: str) -> list[Recording]:
    """Recordings of one part; nothing of the other part can come in."""
    prefix = "" if split == "train" else "dev_"
    found = [r for folder in args.data for r in indexed(folder, args.phrase, split)]
    for folder in getattr(args, f"{prefix}positives"):
        found += plain_folder(folder, "positive")
    for folder in getattr(args, f"{prefix}negatives"):
        found += plain_folder(folder, "speech")
    return found


def run(args: argparse.Namespace) -> int:
    """Run `kwsmodel train`; gives the exit code."""
    try:
        from kwsd.train.fit import FitConfig
        from kwsd.train.recipe import Plan, train
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable(
            f"training needs the package {error.name!r}: pip install 'kwsd[train]'"
        ) from None
    for key in ("steps", "workers", "rooms"):
        if getattr(args, key) < 1:
            raise ConfigError(f"--{key} {getattr(args, key)}: a whole number from 1 is needed")
    if args.renderings < 0:
        raise ConfigError(f"--renderings {args.renderings}: 0 or more are allowed")
    if not 0.0 <= args.splices <= 0.9:
        raise ConfigError(f"--splices {args.splices:g}: 0 to 0.9 are allowed")
    if not 0.0 <= args.bulk_hours <= 100.0:
        raise ConfigError(f"--bulk-hours {args.bulk_hours:g}: 0 to 100 are allowed")
    if any(same_word(other, args.phrase) for other in args.other_phrase):
        raise UsageError(f"--other-phrase {args.phrase!r} is the phrase itself: name other ones")
    share = 0.0 if args.no_synthesis else args.renderings / DEFAULT_RENDERINGS["positive"]
    name = args.name or plain_name(args.phrase)
    started = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {line}", file=sys.stderr, flush=True)

    package = train(
        Plan(
            phrase=args.phrase,
            name=name,
            work=args.work,
            out=args.out or Path("models") / name,
            seed=args.seed,
            renderings={kind: round(n * share) for kind, n in DEFAULT_RENDERINGS.items()},
            train=_gather(args, "train"),
            develop=_gather(args, "dev"),
            fit=FitConfig(steps=args.steps, seed=args.seed, splice_share=args.splices),
            workers=args.workers,
            command=_command(args),
            precision=args.precision,
            rooms=args.rooms,
            bulk_seconds=0.0 if args.no_synthesis else 3600.0 * args.bulk_hours,
            other_phrases=tuple(args.other_phrase),
            other_renderings=DEFAULT_RENDERINGS if args.other_phrase else {},
        ),
        report,
    )
    for level, point in package.sensitivities.items():
        print(
            f"{level:7} threshold {point.threshold:.3f}  misses {100 * point.miss_rate:.1f} %  "
            f"stated false accepts per hour {point.false_accepts_per_hour:g}"
        )
    return 0


def _command(args: argparse.Namespace) -> str:
    """The command for the card, with folders reduced to their names."""
    words = ["kwsmodel", "train", args.phrase, "--seed", str(args.seed), "--steps", str(args.steps)]
    words += ["--renderings", "0" if args.no_synthesis else str(args.renderings)]
    words += ["--splices", f"{args.splices:g}"]
    words += ["--bulk-hours", "0" if args.no_synthesis else f"{args.bulk_hours:g}"]
    if args.precision != "int8":
        words += ["--precision", args.precision]
    for other in args.other_phrase:
        words += ["--other-phrase", other]
    for option in ("data", "positives", "negatives", "dev_positives", "dev_negatives"):
        for folder in getattr(args, option):
            words += [f"--{option.replace('_', '-')}", folder.resolve().name]
    return shlex.join(words)
