"""Reproduced: does another run of the training command give what the cards state?

    python -m benchmarks.reproduced models OUT

For each package of the first folder that the second has too: the misses of both cards at every rate
of false accepts, close by and far away, and whether those of the second lie within the 95 %
interval that the first card states, or are fewer or more. What one side alone states is
named on standard error. Exit code 1 where some are more, 65 where a card cannot be read.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.ending import ended
from kwsd.errors import MissingFileError, ModelError

MORE = 1
"""Exit code where a card promises what the other run did not give."""

_FAR = "Far away:"
_ROW = re.compile(
    r"\| ([\d.]+|none seen) \| [\d.]+ \| "
    r"[\d.]+ % \[([\d.]+)-([\d.]+)\] \((\d+) of (\d+)\) \|"
)


class Misses(NamedTuple):
    """Of one rate on one card."""

    count: int
    total: int

    low: float
    """Of the 95 % interval that the card states, in percent."""

    high: float
    """Of the same."""

    def against(self, other: Misses) -> str:
        """Whether this share is within the interval of another one, or fewer or more."""
        share = round(100 * self.count / self.total, 1)  # as cards round their intervals
        return "fewer" if share < other.low else "more" if share > other.high else "within"


def card_misses(package: Path) -> dict[str, Misses]:
    """Misses at each rate of false accepts that a card states; "0.5 far" is one far away.

    Raises
    ------
    MissingFileError
        The package has no card.
    ModelError
        The card states no misses.
    """
    path = package / "CARD.md"
    if not path.is_file():
        raise MissingFileError(f"{path} is not there: both folders are of kwsmodel train --out")
    close, _, far = path.read_text().partition(_FAR)
    found = {
        rate + suffix: Misses(int(count), int(total), float(low), float(high))
        for text, suffix in ((close, ""), (far, " far"))
        for rate, low, high, count, total in _ROW.findall(text)
        if int(total)
    }
    if not found:
        raise ModelError(f"{path} states no misses")
    return found


class Row(NamedTuple):
    """One rate of one word on both cards."""

    word: str
    rate: str
    stated: Misses
    again: Misses

    @property
    def found(self) -> str:
        """What the other run is against the card."""
        return self.again.against(self.stated)

    def __str__(self) -> str:
        stated = self.stated
        return (
            f"| {self.word} | {self.rate} "
            f"| {stated.count} of {stated.total} [{stated.low:.1f}-{stated.high:.1f}] "
            f"| {self.again.count} of {self.again.total} | {self.found} |"
        )


def compare(stated: Path, again: Path) -> tuple[list[Row], list[str]]:
    """Every rate that both cards of a word state, words in the order of their names.

    Returns
    -------
    list of Row
        The rates.
    list of str
        What cannot be compared, because one side alone has it.
    """
    names = sorted(path.parent.name for path in stated.glob("*/CARD.md"))
    shared = [name for name in names if (again / name).is_dir()]
    if not shared:
        raise MissingFileError(f"{again} holds none of the packages of {stated}")
    rows = []
    alone = [f"{again} holds no {name}" for name in names if name not in shared]
    for name in shared:
        first, second = card_misses(stated / name), card_misses(again / name)
        rows += [Row(name, rate, first[rate], second[rate]) for rate in first if rate in second]
        alone += [
            f"{name}: one card alone states {rate} FA/h"
            for rate in [*first, *second]
            if (rate in first) != (rate in second)
        ]
    return rows, alone


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("stated", type=Path, help="packages, as shipped")
    parser.add_argument("again", type=Path, help="packages of the other run")
    return ended("reproduced", _run, parser.parse_args())


def _run(args: argparse.Namespace) -> int:
    rows, alone = compare(args.stated, args.again)
    for line in alone:
        print(f"reproduced: {line}", file=sys.stderr)
    print("| word | FA/h | card [95 %] | other run | |")
    print("| --- | --- | --- | --- | --- |")
    print("\n".join(map(str, rows)))
    return MORE if any(row.found == "more" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
