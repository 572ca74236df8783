"""Tables of a benchmark's CSV file, as markdown.

python -m benchmarks.echo.report docs/benchmarks/echo.csv
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from kwsd.evaluate.intervals import wilson

LEVELS = {"playback": ("none", "0", "-5", "-10", "-15", "-20"), "point noise": ("none", "5", "0")}
HARD = {"playback": ("-10", "-15", "-20"), "point noise": ("0",)}


def main() -> None:
    """Print the tables."""
    rows: dict[tuple[str, str], dict[str, dict[str, dict[str, str]]]] = defaultdict(dict)
    with Path(sys.argv[1]).open(newline="") as stream:
        for row in csv.DictReader(stream):
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


if __name__ == "__main__":
    main()
