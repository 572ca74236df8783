"""`kwsmodel evaluate`: recordings in, misses against false accepts per hour out."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kwsd.errors import OutputError, UsageError
from kwsd.evaluate.det import FORMATS, draw_det
from kwsd.evaluate.jobs import plan, repeated
from kwsd.evaluate.judge import Question, judge
from kwsd.evaluate.noise import NoisePool, usable_noise
from kwsd.evaluate.recording import find_recordings
from kwsd.evaluate.report import Report, text, write_json, write_scores
from kwsd.evaluate.rooms import Room, far_rooms
from kwsd.evaluate.selection import select
from kwsd.evaluate.surroundings import Surroundings
from kwsd.model.find import find_package
from kwsd.model.package import load_package
from kwsd.output_file import OutputFile
from kwsd.plot import require_matplotlib

if TYPE_CHECKING:
    # A private name, so not needed at run time.
    from argparse import _SubParsersAction

DESCRIPTION = """\
Runs every recording through the daemon's whole chain (front end with one microphone, features,
int8 model, decision) and prints misses against false accepts per hour with 95 % intervals.
Those of misses are over recordings, not over people: of few speakers they are too narrow.
A rate finer than one false accept in all hours of negatives is never claimed, only bounded.
The first channel of a recording is used.
"""

EXAMPLE = """\
example:
  kwsmodel evaluate computer --index data/index.csv --split dev --negatives data/speech
"""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the program's parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="misses against false accepts per hour of a model",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("name", metavar="NAME", help="model package: a name or a folder")
    parser.add_argument(
        "--positives",
        nargs="+",
        type=Path,
        metavar="DIR",
        default=[],
        help="folders (or files) of recordings that hold the word once each",
    )
    parser.add_argument(
        "--negatives",
        nargs="+",
        type=Path,
        metavar="DIR",
        required=True,
        help="folders (or files) of recordings without the word",
    )
    parser.add_argument(
        "--index",
        type=Path,
        metavar="FILE",
        help="CSV with path, label, speaker, split: restricts both kinds to what fits",
    )
    parser.add_argument(
        "--label",
        help="label of the word in the index, however spaced (default: the model's phrase)",
    )
    parser.add_argument("--split", help="use only this split of the index, for example dev")
    parser.add_argument(
        "--noise",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="add noise from these recordings to positives and negatives",
    )
    parser.add_argument(
        "--snr-db",
        type=_ratio_db,
        metavar="N",
        help="ratio to that noise in dB, loudest 128 ms compared (default: 10)",
    )
    parser.add_argument(
        "--far",
        action="store_true",
        help="put every recording into a simulated room, RT60 0.3 to 0.6 s, talker 1 to 3 m away",
    )
    parser.add_argument(
        "--playback",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="the device plays these recordings in a simulated room; the echo canceller runs",
    )
    parser.add_argument(
        "--ser-db",
        type=_ratio_db,
        metavar="N",
        help="speech to echo in dB, loudest 128 ms compared (default: -15)",
    )
    parser.add_argument("--scores", type=Path, metavar="OUT.csv", help="write every score")
    parser.add_argument("--det", type=Path, metavar="OUT.png", help="write a DET plot")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    parser.add_argument("--seed", type=_whole(0), default=0, help="of noise (default: 0)")
    parser.add_argument(
        "--draws",
        type=_whole(1),
        default=1,
        metavar="N",
        help="how often each positive is heard, each time in another room, noise or playback "
        "(default: 1): few recordings say more; intervals stay those of so many recordings",
    )
    parser.add_argument(
        "--workers", type=_whole(1), default=1, metavar="N", help="processes (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate; gives the exit code.

    Raises
    ------
    KwsdError
        No file is then written.
    """
    if args.snr_db is not None and not args.noise:
        raise UsageError(f"--snr-db {args.snr_db:g} needs --noise DIR, the noise to add")
    if args.ser_db is not None and not args.playback:
        raise UsageError(f"--ser-db {args.ser_db:g} needs --playback DIR, what the device plays")
    if args.draws > 1 and not (args.noise or args.far or args.playback):
        raise UsageError(
            f"--draws {args.draws} needs --noise, --far or --playback: as they are, recordings "
            "sound the same each time"
        )
    if args.label is not None and args.index is None:
        raise UsageError(f"--label {args.label} needs --index: folders are named for what they say")
    outputs = [path for path in (args.scores, args.det, args.json) if path is not None]
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise UsageError("two of --scores, --det and --json name the same file")
    if args.det is not None:
        if args.det.suffix.lower() not in FORMATS:
            raise UsageError(f"--det {args.det}: must end in {' or '.join(FORMATS)}")
        require_matplotlib("--det")
    package = load_package(find_package(args.name))
    label = args.label or package.phrase
    selection = select(args.positives, args.negatives, args.index, label, args.split)
    surroundings, condition = _surroundings(args)
    with ExitStack() as stack:
        # Opened before the work, so that a folder that cannot be written costs no hour.
        places = {path: stack.enter_context(OutputFile(path)).partial for path in outputs}
        planned, skipped = plan(selection)
        jobs = repeated(planned, args.draws)
        with _bar(sum(job.seconds for job in jobs)) as advance:
            (result,) = judge(
                [Question(package, jobs, skipped)],
                surroundings,
                seed=args.seed,
                workers=args.workers,
                advance=advance,
            )
        report = Report(package, result, condition, args.seed)
        for reason in result.skipped:
            print(f"kwsmodel: left out: {reason}", file=sys.stderr)
        # Before the files: a disk that is full by now costs no hour either.
        sys.stdout.write(text(report))
        sys.stdout.flush()
        for path, write in (
            (args.scores, write_scores),
            (args.det, draw_det),
            (args.json, write_json),
        ):
            if path is not None:
                _write(write, report, path, places[path])
    return 0


def _write(
    write: Callable[[Report, Path], None], report: Report, path: Path, partial: Path
) -> None:
    try:
        write(report, partial)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; the report above is complete, "
            "none of the files asked for is there"
        ) from None


def _surroundings(args: argparse.Namespace) -> tuple[Surroundings, str]:
    """What the recordings are put into, and how the report calls it."""
    said: list[str] = []
    noise = _pool(args.noise, args.snr_db, 10.0)
    if noise is not None:
        said.append(f"noise at {noise.snr_db:g} dB ({len(noise.paths)} recordings)")
    rooms: tuple[Room, ...] = ()
    if args.far or args.playback:
        rooms = far_rooms(args.seed)
    if args.far:
        said.append(f"far field ({len(rooms)} simulated rooms)")
    playback = _pool(args.playback, args.ser_db, -15.0)
    if playback is not None:
        said.append(f"playback at {playback.snr_db:g} dB ({len(playback.paths)} recordings)")
    return Surroundings(noise, rooms, args.far, playback), ", ".join(said) or "clean"


def _pool(folders: list[Path] | None, ratio_db: float | None, usual_db: float) -> NoisePool | None:
    if not folders:
        return None
    return NoisePool(
        usable_noise(find_recordings(folders)), usual_db if ratio_db is None else ratio_db
    )


@contextmanager
def _bar(total_s: float) -> Iterator[Callable[[float], None]]:
    """Progress on a terminal's standard error, in seconds of recordings heard."""
    from rich.console import Console
    from rich.progress import Progress

    terminal = sys.stderr is not None and sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=not terminal) as bar:
        task = bar.add_task("listening", total=total_s)
        yield lambda seconds: bar.advance(task, seconds)


def _whole(lowest: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = lowest - 1
        if number < lowest:
            raise argparse.ArgumentTypeError(f"{value!r}: must be a whole number from {lowest} on")
        return number

    return parse


def _ratio_db(value: str) -> float:
    try:
        ratio = float(value)
    except ValueError:
        ratio = math.nan
    if not -60.0 <= ratio <= 100.0:
        raise argparse.ArgumentTypeError(f"{value!r}: must be a ratio from -60 to 100 dB")
    return ratio
