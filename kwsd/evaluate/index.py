"""Index of recordings: a CSV that says of each file what it holds, who speaks and where it counts.

One reader for the training and for whoever judges: a row must not be one thing here and another
there.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kwsd.errors import ConfigError, MissingFileError


@dataclass(frozen=True)
class Row:
    """A row."""

    index: Path
    """The file."""

    line: int
    """Where it ends in it."""

    cells: dict[str, str]
    """By column."""

    def seconds(self) -> float:
        """Length of the recording; 0 where the index has no such column."""
        told = self.cells.get("seconds", "0")
        try:
            seconds = float(told)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds):
            raise ConfigError(
                f"{self.index}, line {self.line}: seconds of {self.cells['path']} are {told!r}; "
                "a number is needed"
            )
        return seconds


def voice(collection: str, speaker: str) -> str:
    """Who speaks: two collections may call different people alike; empty where it is not told."""
    return f"{collection}/{speaker}" if collection and speaker else speaker


def read_rows(index: Path) -> tuple[Sequence[str], list[Row]]:
    """Columns and rows of an index; what a short row lacks is empty.

    Raises
    ------
    MissingFileError
        It cannot be read.
    ConfigError
        It is no table in UTF-8, or a row of it is none.
    """
    try:
        text = index.read_bytes().decode("utf-8-sig")  # spreadsheets put a mark before it
    except OSError as error:
        raise MissingFileError(f"{index} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{index}, line {line}: not UTF-8; save the table as UTF-8") from None
    table = csv.DictReader(io.StringIO(text, newline=""), restval="")
    rows = []
    try:
        for cells in table:
            # One comma too many moves a split or a licence into the next column.
            if any(cells.pop(None, ())):
                raise ConfigError(
                    f"{index}, line {table.line_num}: more cells than the {len(cells)} columns; "
                    "put a cell that holds a comma into quotes"
                )
            if not any(cells.values()):
                continue  # a spreadsheet has them behind its last row
            path = cells.get("path")
            if path is not None and (not path or "\0" in path):
                raise ConfigError(f"{index}, line {table.line_num}: path {path!r} names no file")
            rows.append(Row(index, table.line_num, cells))
    except csv.Error as error:
        raise ConfigError(
            f"{index}, line {table.line_num}: no CSV ({error}); look for a quote that does not end"
        ) from None
    return table.fieldnames or (), rows
