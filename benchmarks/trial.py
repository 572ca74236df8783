"""What trials on the pools of a training share: options, and what is refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kwsd.errors import MissingFileError, UsageError, first_line
from kwsd.evaluate.label import letters
from kwsd.train.command import DEFAULT_SPLICES
from kwsd.train.fit import FitConfig
from kwsd.train.lessons import load_lessons
from kwsd.train.pools import Pools, load
from kwsd.train.stored import DAMAGE
from kwsd.train.teacher import Lesson

T = TypeVar("T")


def make_parser(doc: str | None, steps: int) -> argparse.ArgumentParser:
    """Options of every trial; `steps` is the default length of its trainings."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("phrases", nargs="+", metavar="PHRASE")
    made.add_argument("--pools", type=Path, required=True)
    made.add_argument("--lessons", type=Path, help="of the same training; without, no teacher")
    made.add_argument(
        "--varied-voices", action="store_true", help="as of kwsmodel train; off unless asked for"
    )
    made.add_argument("--data", type=Path, action="append", required=True)
    made.add_argument("--dev-negatives", type=Path, action="append", default=[])
    made.add_argument("--steps", type=int, default=steps)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--work", type=Path, default=Path("runs"))
    return made


@dataclass(frozen=True)
class Trial:
    """What a trial works with."""

    pools: Pools
    """Of a training that was made before."""

    lessons: list[Lesson]
    """Of the same training; none: there is no teacher."""

    config: FitConfig
    """How long and from which seed."""


def opened(args: argparse.Namespace) -> Trial:
    """Pools, lessons and training that were asked for.

    Raises
    ------
    UsageError
        Too few steps, a file that holds no pools or lessons, or pools of other phrases or of the
        same in another order.
    MissingFileError
        No such pools or lessons.
    """
    if args.steps < 10:
        raise UsageError(f"--steps {args.steps}: 10 or more are needed")
    for kept in (args.pools, args.lessons):
        if kept is not None and not kept.is_file():
            raise MissingFileError(
                f"{kept} is not there: kwsmodel train keeps pools and lessons in --work"
            )
    pools = _read(args.pools, load)
    if pools.names and list(map(letters, pools.names)) != list(map(letters, args.phrases)):
        raise UsageError(
            f"{args.pools} holds {', '.join(map(repr, pools.names))}, in this order; named are "
            f"{', '.join(map(repr, args.phrases))}"
        )
    said = max(word.phrase for word in pools.words) + 1
    if said != len(args.phrases):
        raise UsageError(f"{args.pools} holds {said} phrases, {len(args.phrases)} are named")
    config = FitConfig(
        args.steps,
        seed=args.seed,
        splice_share=DEFAULT_SPLICES,
        varied=args.varied_voices,
        loaders=1,
    )
    return Trial(pools, _read(args.lessons, load_lessons) if args.lessons else [], config)


def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except DAMAGE as error:
        raise UsageError(
            f"{path} is not what kwsmodel train keeps there: {first_line(error)}"
        ) from None
