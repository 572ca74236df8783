"""Which recordings of a data folder train, and as what: the index, its split and its licences."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kwsd.errors import AudioError, ConfigError, MissingFileError

INDEX_FILE = "index.csv"
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
COLUMNS = ("path", "set", "label", "split", "licence", "seconds")
"""Of an index; ``speaker`` is told where it is known."""

UNUSABLE_SETS = ("rir", "aec")
"""Top folders that hold no single-channel scenes."""

SHARE_ALIKE = ("ODbL", "SA", "GPL")
"""Licences that stay out of wake-word models."""


@dataclass(frozen=True)
class Recording:
    """One file of a data folder."""

    path: Path
    """Where it is."""

    role: str
    """positive, speech or noise."""

    set: str
    """Name of the collection, for the card."""

    licence: str
    """Licence of the recording."""

    seconds: float
    """Length."""

    speaker: str = ""
    """Who speaks, where the index knows."""

    phrase: str = ""
    """What a positive says, as the phrase was given."""


def letters(text: str) -> str:
    """What of a label or phrase counts: neither case nor spaces nor underscores."""
    return "".join(c for c in text.lower() if c.isalnum())


def same_word(label: str, phrase: str) -> bool:
    """Whether an index label names the phrase."""
    return letters(label) == letters(phrase)


def indexed(folder: Path, phrases: Sequence[str], split: str) -> list[Recording]:
    """Recordings of one split of a data folder.

    Parameters
    ----------
    folder : Path
        Holds ``index.csv`` with the columns path, set, label, speaker, split, licence, seconds.
    phrases : sequence of str
        Rows with one of these labels are positives; every other row is a negative.
    split : str
        ``train`` or ``dev``; nothing of the other part is returned.

    Raises
    ------
    MissingFileError
        There is no index.
    ConfigError
        It lacks a column, or a length in it is no number.
    """
    index = folder / INDEX_FILE
    if not index.is_file():
        raise MissingFileError(
            f"{folder} has no {INDEX_FILE}: name a data folder with an index, or use --positives "
            "and --negatives for plain folders"
        )
    found = []
    with index.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise ConfigError(
                f"{index} has no column {missing[0]!r}: {', '.join(COLUMNS)} are needed"
            )
        for row in rows:
            top = row["path"].split("/")[0]
            if row["split"] != split or top in UNUSABLE_SETS:
                continue
            if any(mark in row["licence"] for mark in SHARE_ALIKE):
                continue
            said = next((p for p in phrases if same_word(row["label"], p)), "")
            if said:
                role = "positive"
            else:
                role = "speech" if top in ("speech", "wake") else "noise"
            path = folder / row["path"]
            found.append(
                Recording(
                    path,
                    role,
                    row["set"],
                    row["licence"],
                    _seconds(row, index),
                    row.get("speaker") or "",
                    said,
                )
            )
    return found


def plain_folder(folder: Path, role: str, phrase: str = "") -> list[Recording]:
    """Every audio file below a folder, in a fixed order; `phrase` is what positives say.

    Licence and length come from an ``index.csv`` of the folder, where it has one with the columns
    path, licence and seconds (as `benchmarks/fetch_negatives.py` writes).

    Raises
    ------
    MissingFileError
        No such folder.
    AudioError
        It holds no audio.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a folder: name one with recordings")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise AudioError(f"{folder} holds no recordings ({', '.join(AUDIO_SUFFIXES)})")
    told = _told(folder)
    return [
        Recording(path, role, folder.name, *told.get(path, ("as supplied", 0.0)), phrase=phrase)
        for path in files
    ]


def _told(folder: Path) -> dict[Path, tuple[str, float]]:
    """Licence and seconds of the files that a folder's index names."""
    index = folder / INDEX_FILE
    if not index.is_file():
        return {}
    with index.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        if not {"path", "licence", "seconds"} <= set(rows.fieldnames or ()):
            return {}
        return {folder / row["path"]: (row["licence"], _seconds(row, index)) for row in rows}


def _seconds(row: dict[str, str], index: Path) -> float:
    try:
        return float(row["seconds"])
    except (TypeError, ValueError):
        raise ConfigError(
            f"{index}: seconds of {row['path']} are {row['seconds']!r}; a number is needed"
        ) from None


def amounts(recordings: Sequence[Recording]) -> list[tuple[str, str, str]]:
    """Rows (set, licence, amount) for a card."""
    rows: dict[tuple[str, str], tuple[int, float]] = {}
    for item in recordings:
        files, seconds = rows.get((item.set, item.licence), (0, 0.0))
        rows[item.set, item.licence] = (files + 1, seconds + item.seconds)
    return [
        (name, licence, f"{files} files, {seconds / 3600:.2f} h")
        for (name, licence), (files, seconds) in sorted(rows.items())
    ]
