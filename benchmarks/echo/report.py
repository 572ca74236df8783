"""Tables of what `benchmarks.echo.run` wrote, as markdown.

python -m benchmarks.echo.report echo.csv
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

from benchmarks.ending import ended
from kwsd.errors import ConfigError
from kwsd.evaluate.index import read_rows
from kwsd.evaluate.intervals import wilson

LEVELS = {"playback": ("none", "0", "-5", "-10", "-15", "-20"), "point noise": ("none", "5", "0")}
HARD = {"playback": ("-10", "-15", "-20"), "point noise": ("0",)}

COLUMNS = (
    "judge",
    "set",
    "front_end",
    "level_db",
    "found",
    "words",
    "false_alarms",
    "seconds",
    "cpu_s",
)
"""Of the file."""


def _run(args: argparse.Namespace) -> None:
    columns, lines = read_rows(args.csv)
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise ConfigError(
            f"{args.csv} has no column {missing[0]!r}: name a file that benchmarks.echo.run wrote"
        )
    rows: dict[tuple[str, str], dict[str, dict[str, dict[str, str]]]] = defaultdict(dict)
    for line in lines:
        row = line.cells
        table = rows[row["judge"], row["set"]]
        table.setdefault(row["front_end"], {})[row["level_db"]] = row
    for (judge, name), table in rows.items():
        print(f"\n### {judge}, {name}\n")
        levels, hard = LEVELS[name], HARD[name]
        total = "sum of " + ", ".join(hard) if len(hard) > 1 else f"share at {hard[0]}"
        print(f"| front end | {' | '.join(levels)} | {total} [95 %] | false alarms | CPU ms/s |")
        print("| --- " * (len(levels) + 4) + "|")
        for front_end, cells in table.items():
            found = [cells[level]["found"] if level in cells else "" for level in levels]
            print(f"| {front_end} | {' | '.join(found)} | {_sum(cells, hard)} | {_cost(cells)} |")


def _sum(cells: dict[str, dict[str, str]], levels: tuple[str, ...]) -> str:
    found = sum(int(cells[level]["found"]) for level in levels if level in cells)
    words = sum(int(cells[level]["words"]) for level in levels if level in cells)
    low, high = wilson(found, words)
    return f"{found} of {words} [{100 * low:.0f}-{100 * high:.0f} %]"


def _cost(cells: dict[str, dict[str, str]]) -> str:
    false_alarms = sum(int(row["false_alarms"]) for row in cells.values())
    hours = sum(float(row["seconds"]) for row in cells.values()) / 3600
    cost = statistics.median(
        1000 * float(row["cpu_s"]) / float(row["seconds"]) for row in cells.values()
    )
    return f"{false_alarms} in {hours:.2f} h | {cost:.1f}"


def main() -> int:
    """Print the tables; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path, help="what benchmarks.echo.run wrote")
    return ended("echo.report", _run, parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
