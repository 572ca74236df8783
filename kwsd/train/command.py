"""`kwsmodel train`: one seeded command from phrases to packages."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kwsd.errors import OutputError, RuntimeUnavailable, UsageError
from kwsd.evaluate.label import same_word
from kwsd.evaluate.recording import find_recordings
from kwsd.model.find import find_package
from kwsd.model.package import NAME, ModelPackage, load_package
from kwsd.model.write import check_place
from kwsd.train.gather import gather, learnt, option
from kwsd.train.memory import machine_mb, tell_of_memory
from kwsd.train.phrase import plain_name
from kwsd.train.quantise import PRECISIONS
from kwsd.train.recordings import Recording

LARGEST_SEED = 2**62
"""What torch takes, less what networks add to it."""

DEFAULT_STEPS = 4000
DEFAULT_SPLICES = 0.3
DEFAULT_BULK_HOURS = 8.0
DEFAULT_SAYINGS = 400
DEFAULT_ROOMS = 100
DEFAULT_RENDERINGS = {"positive": 900, "near": 300, "other": 60}


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="train wake words",
        description="Train wake words from synthetic speech and recordings, choose thresholds on "
        "development recordings and write a complete model package for each. Phrases that are "
        "trained together are negatives for each other. The same command with the same data gives "
        "the same packages. Interrupted, it goes on where it stopped.",
    )
    parser.add_argument(
        "phrases", nargs="+", metavar="PHRASE", help='what is said, such as "computer"'
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="PHRASE",
        help="phrase that is learnt with the others and gets no package: recordings of any word "
        "teach how people differ from synthetic voices; repeatable",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("models"),
        help="folder that gets a package folder for each phrase (default: models)",
    )
    parser.add_argument("--name", help="name of the model of a single phrase (default: from it)")
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
        "--noise",
        type=Path,
        action="append",
        default=[],
        help="folder of sounds or music without speech, all for training: they lie under words, "
        "and the loudspeaker plays those above 2 s; repeatable",
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
        help="synthetic positives of each phrase; near phrases and other speech in proportion",
    )
    parser.add_argument(
        "--sayings",
        type=int,
        default=DEFAULT_SAYINGS,
        help="of each phrase by the fast voice of the bulk speech (default: 400)",
    )
    parser.add_argument(
        "--no-synthesis", action="store_true", help="train on recordings alone, without voices"
    )
    parser.add_argument(
        "--varied-voices",
        action=argparse.BooleanOptionalAction,
        help="tempo, vocal tract and articulation of the words differ more: for words of which "
        "there are no recordings; costs those that have some (default: where no word has any)",
    )
    parser.add_argument(
        "--no-teacher",
        action="store_true",
        help="learn from words alone, not also from what the speech embedding says of speech",
    )
    parser.add_argument(
        "--start",
        metavar="MODEL",
        help="name or folder of a package of kwsmodel train whose layers, all but the last, the "
        "training begins with instead of at random; of several --networks the first one alone",
    )
    parser.add_argument(
        "--networks",
        type=int,
        default=1,
        metavar="N",
        help="train N networks, as many at once as --workers, and let for each phrase the best at "
        "it learn in a tenth of the steps what all say of it on average: for long trainings, fewer "
        "misses at the same size in about N times the time (default: 1)",
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
        help="synthetic speech of random words as negatives, 0 to 100 (default: 8)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="int8",
        help="int8, or mixed: last layer and probability in int16 (default: int8)",
    )
    parser.add_argument("--rooms", type=int, default=DEFAULT_ROOMS, help="simulated rooms")
    parser.add_argument(
        "--responses", type=Path, help="folder of measured impulse responses, rooms as well"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.set_defaults(run=run)


def _names(args: argparse.Namespace) -> list[str]:
    """Of all models, in the order of their phrases."""
    first = plain_name(args.phrases[0]) if args.name is None else args.name
    return [first, *map(plain_name, learnt(args)[1:])]


def varies_voices(asked: bool | None, recordings: Sequence[Recording]) -> bool:
    """Whether words get more varied voices: as asked for, otherwise where nobody recorded any."""
    if asked is not None:
        return asked
    return all(recording.role != "positive" for recording in recordings)


def run(args: argparse.Namespace) -> int:
    """Run `kwsmodel train`; gives the exit code."""
    try:
        from kwsd.train.fit import FitConfig
        from kwsd.train.plan import Plan, Target
        from kwsd.train.pools import Amounts
        from kwsd.train.recipe import train
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable(
            f"training needs the package {error.name!r}: pip install 'kwsd[train]'"
        ) from None
    check(args)
    start = None if args.start is None else load_package(find_package(args.start))
    share = 0.0 if args.no_synthesis else args.renderings / DEFAULT_RENDERINGS["positive"]
    places = [args.out / name for name in _names(args)[: len(args.phrases)]]
    places += [None] * len(args.beside)
    started = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {line}", file=sys.stderr, flush=True)

    recordings = gather(args, report)
    tell_of_memory(recordings["train"], recordings["dev"], machine_mb(), report)
    varied = varies_voices(args.varied_voices, recordings["train"])
    packages = train(
        Plan(
            targets=tuple(
                Target(*each) for each in zip(learnt(args), _names(args), places, strict=True)
            ),
            work=args.work,
            seed=args.seed,
            amounts=Amounts(
                renderings={kind: round(n * share) for kind, n in DEFAULT_RENDERINGS.items()},
                sayings=0 if args.no_synthesis else args.sayings,
                bulk_seconds=0.0 if args.no_synthesis else 3600.0 * args.bulk_hours,
                rooms=args.rooms,
            ),
            train=recordings["train"],
            develop=recordings["dev"],
            fit=FitConfig(
                steps=args.steps,
                seed=args.seed,
                splice_share=args.splices,
                varied=varied,
            ),
            workers=args.workers,
            command=_command(args, varied, start),
            precision=args.precision,
            responses=tuple(find_recordings([args.responses])) if args.responses else (),
            teacher=not args.no_teacher,
            start=start,
            networks=args.networks,
        ),
        report,
    )
    for package in packages:
        for level, point in package.sensitivities.items():
            print(
                f"{package.name} {level:7} threshold {point.threshold:.3f}  "
                f"misses {100 * point.miss_rate:.1f} %  "
                f"stated false accepts per hour {point.false_accepts_per_hour:g}"
            )
    return 0


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot be asked for, before hours of work.

    Raises
    ------
    UsageError
        A number that is not allowed, phrases or options that do not go together, or a name that no
        package can have.
    OutputError
        Something else lies where a package shall be, or nothing can be written there.
    """
    for key in ("steps", "networks", "workers", "rooms"):
        if getattr(args, key) < 1:
            raise UsageError(f"--{key} {getattr(args, key)}: a whole number from 1 is needed")
    for key in ("renderings", "sayings", "seed"):
        if getattr(args, key) < 0:
            raise UsageError(f"--{key} {getattr(args, key)}: 0 or more are allowed")
    if args.seed > LARGEST_SEED:
        raise UsageError(f"--seed {args.seed}: at most {LARGEST_SEED} is allowed")
    if not 0.0 <= args.splices <= 0.9:
        raise UsageError(f"--splices {args.splices:g}: 0 to 0.9 are allowed")
    if not 0.0 <= args.bulk_hours <= 100.0:
        raise UsageError(f"--bulk-hours {args.bulk_hours:g}: 0 to 100 are allowed")
    phrases = learnt(args)
    for number, phrase in enumerate(phrases):
        if any(same_word(phrase, other) for other in phrases[:number]):
            raise UsageError(f"phrase {phrase!r} stands twice: name each phrase once")
    if len(args.phrases) > 1:
        for key in ("name", "positives", "dev_positives"):
            if getattr(args, key):
                raise UsageError(
                    f"{option(key)} goes with one phrase, not with {len(args.phrases)}: train "
                    "them apart, or put the recordings into an index (--data)"
                )
    _check_names(args)


def _check_names(args: argparse.Namespace) -> None:
    phrases, names = learnt(args), _names(args)
    for number, (phrase, name) in enumerate(zip(phrases, names, strict=True)):
        if not NAME.fullmatch(name):
            # --name is for a single phrase, and never for one that is learnt beside it.
            helps = number == 0 and len(args.phrases) == 1
            raise UsageError(
                f"the model of {phrase!r} cannot be called {name!r}: up to 64 letters, digits, "
                "'_', '-' and '.' are allowed, the first a letter or digit; "
                + ("set another --name" if helps else "shorten the phrase")
            )
        if name in names[:number]:
            raise UsageError(
                f"the models of {phrases[names.index(name)]!r} and {phrase!r} would both be called "
                f"{name!r}: set another --name"
            )
    for name in names[: len(args.phrases)]:
        check_place(args.out / name, replace=True)
        if (args.out / name).resolve() == (args.work / name).resolve():
            raise UsageError(
                f"--out {args.out} and --work {args.work} are one folder: a package and the work "
                "of its training would lie in one place; name two"
            )
    # Tried where the folder will be made, and nothing is left there.
    try:
        there = next(place for place in (args.out, *args.out.absolute().parents) if place.exists())
        tempfile.TemporaryDirectory(dir=there).cleanup()
    except OSError as error:
        raise OutputError(
            f"{args.out}: no package can be written there: {error.strerror or error}; name another "
            "folder with --out"
        ) from None


def _command(args: argparse.Namespace, varied: bool, start: ModelPackage | None) -> str:
    """The command for the card, with folders reduced to their names."""
    words = ["kwsmodel", "train", *args.phrases]
    for phrase in args.beside:
        words += ["--beside", phrase]
    words += ["--seed", str(args.seed), "--steps", str(args.steps)]
    words += ["--renderings", "0" if args.no_synthesis else str(args.renderings)]
    words += ["--sayings", "0" if args.no_synthesis else str(args.sayings)]
    if args.no_teacher:
        words += ["--no-teacher"]
    words += ["--varied-voices" if varied else "--no-varied-voices"]
    words += ["--splices", f"{args.splices:g}"]
    words += ["--bulk-hours", "0" if args.no_synthesis else f"{args.bulk_hours:g}"]
    if start is not None:
        words += ["--start", start.name]
    if args.networks > 1:
        words += ["--networks", str(args.networks)]
    if args.precision != "int8":
        words += ["--precision", args.precision]
    if args.name:
        words += ["--name", args.name]
    if args.rooms != DEFAULT_ROOMS:
        words += ["--rooms", str(args.rooms)]
    if args.responses:
        words += ["--responses", args.responses.resolve().name]
    for key in ("data", "positives", "negatives", "noise", "dev_positives", "dev_negatives"):
        for folder in getattr(args, key):
            words += [option(key), folder.resolve().name]
    return shlex.join(words)
