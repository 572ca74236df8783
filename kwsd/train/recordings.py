"""Which recordings of a data folder train, and as what: the index, its split and its licences."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kwsd.errors import AudioError, ConfigError, MissingFileError
from kwsd.evaluate.index import Row, read_rows
from kwsd.evaluate.label import holds_phrase, same_word
from kwsd.evaluate.recording import find_recordings, parts_of, reachable
from kwsd.progress import Report, silent

INDEX_FILE = "index.csv"
COLUMNS = ("path", "set", "label", "split", "licence", "seconds")
"""Of an index; ``speaker`` is told where it is known."""

SPLITS = ("train", "dev")

UNUSABLE_SETS = ("rir", "aec")
"""Top folders that hold no single-channel scenes."""

FOLDER_ROLES = {"speech": "speech", "wake": "speech", "music": "noise", "sounds": "noise"}
"""Top folders that say what the negatives in them are; in any other folder the row says it."""

SHARE_ALIKE = re.compile(
    r"(?<![a-z])(?:(?:(?:cc)?(?:by)?(?:nc)?sa|[al]?gpls?|lgpllr|gfdl|odbl)(?:v?\d|(?![a-z]))"
    r"|(?:share[ _-]?alike|general[ _-]public|free[ _-]documentation|open[ _-]database)(?![a-z]))",
    re.IGNORECASE,
)
"""Licences that stay out of wake-word models, by whole words: ``usage`` holds no ``SA``."""

UNKNOWN_LICENCE = "as supplied"


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


def few(names: Sequence[str], most: int) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def indexed(
    folder: Path, phrases: Sequence[str], split: str, report: Report = silent
) -> list[Recording]:
    """Recordings of one split of a data folder.

    Parameters
    ----------
    folder : Path
        Holds ``index.csv`` with the columns path, set, label, speaker, split, licence, seconds.
    phrases : sequence of str
        Rows with one of these labels are positives; every other row is a negative.
    split : str
        ``train`` or ``dev``; nothing of the other part is returned.
    report : callable
        Gets a line: how many there are of each role, and what is left out.

    Raises
    ------
    MissingFileError
        There is no index, or it cannot be read.
    ConfigError
        It is no table in UTF-8, lacks a column, or a length in it is no number.
    """
    index = folder / INDEX_FILE
    with reachable(index):
        there = index.is_file()
    if not there:
        raise MissingFileError(
            f"{folder} has no {INDEX_FILE}: name a data folder with an index, or use --positives "
            "and --negatives for plain folders"
        )
    columns, rows = read_rows(index)
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise ConfigError(f"{index} has no column {missing[0]!r}: {', '.join(COLUMNS)} are needed")
    found = []
    left_out: Counter[str] = Counter()
    for row in rows:
        path, part = folder / row.cells["path"], row.cells["split"]
        top = _top_folder(path, folder)
        name, licence = _origin(row, folder)
        if part != split:
            # Rows of neither part are said once, with what trains.
            if split == "train" and part not in SPLITS:
                left_out[f"split {part!r}"] += 1
        elif top in UNUSABLE_SETS:
            left_out[f"{name} (folder {top})"] += 1
        elif SHARE_ALIKE.search(licence):
            left_out[f"{name} ({licence})"] += 1
        elif any(holds_phrase(row.cells["label"], phrase) for phrase in phrases):
            left_out[f"label {row.cells['label']!r}, which has the phrase in it"] += 1
        else:
            said = next((p for p in phrases if same_word(row.cells["label"], p)), "")
            role = "positive" if said else _negative_role(row, top)
            speaker = row.cells.get("speaker", "")
            found.append(Recording(path, role, name, licence, row.seconds(), speaker, said))
    _tell(report, f"{folder}, {split}", found, left_out)
    return found


def plain_folder(
    folder: Path, role: str, phrase: str = "", trains: bool = False, report: Report = silent
) -> list[Recording]:
    """Every audio file below a folder, in a fixed order.

    Licence and length come from an ``index.csv`` with the columns path and licence (as
    `benchmarks/fetch_negatives.py` writes), of the folder or of one that it lies in; lengths
    otherwise from the files.

    Parameters
    ----------
    folder : Path
        Where to look.
    role : str
        What they are.
    phrase : str
        What positives say.
    trains : bool
        Whether they train: share-alike ones are left out then. What only judges may be any.
    report : callable
        Gets a line: how many there are, and what is left out.

    Raises
    ------
    MissingFileError
        No such folder, no audio in it, or its index cannot be read.
    AudioError
        Nothing in it may train.
    ConfigError
        Its index is no table in UTF-8, or a length in it is no number.
    """
    with reachable(folder):
        if not folder.is_dir():
            raise MissingFileError(f"{folder} is not a folder: name one with recordings")
    files = find_recordings([folder])
    told = _told(folder)
    rows = [told.get(path.resolve()) for path in files]
    if (folder / INDEX_FILE).is_file() and not any(rows):
        report(f"warning: {folder / INDEX_FILE} names none of the files there: no licence is known")
    found = []
    left_out: Counter[str] = Counter()
    for path, known in zip(files, rows, strict=True):
        row = known or Row(folder / INDEX_FILE, 0, {})
        name, licence = _origin(row, folder)
        if trains and SHARE_ALIKE.search(licence):
            left_out[f"{name} ({licence})"] += 1
        else:
            # A card lists what the command names, as a whole.
            named = folder.absolute().name
            seconds = row.seconds() or _stored_s(path)
            found.append(Recording(path, role, named, licence, seconds, phrase=phrase))
    _tell(report, str(folder), found, left_out)
    if not found:
        raise AudioError(
            f"{folder} holds {len(files)} recordings and none that may train: all are share-alike "
            f"({few(list(left_out), 3)}); name others"
        )
    return found


def _stored_s(path: Path) -> float:
    """Length as the file has it; 0 where it cannot be read, which is told when it is heard."""
    try:
        return sum(part.seconds for part in parts_of(path))
    except AudioError:
        return 0.0


def _told(folder: Path) -> dict[Path, Row]:
    """What indexes tell of the files of a folder, by resolved path; the nearest counts.

    A folder inside a data folder has its licences in the index of that.
    """
    nearest = folder.resolve()
    told: dict[Path, Row] = {}
    for place in (*reversed(nearest.parents), nearest):
        try:
            index = place / INDEX_FILE
            columns, rows = read_rows(index) if index.is_file() else ((), [])
        except (OSError, MissingFileError, ConfigError):
            if place == nearest:
                raise
            continue  # whatever lies further up may be of somebody else
        if {"path", "licence"} <= set(columns):
            told |= {(place / row.cells["path"]).resolve(): row for row in rows}
    return told


def _origin(row: Row, folder: Path) -> tuple[str, str]:
    """Set and licence; never empty, for a card must name them."""
    return (
        row.cells.get("set") or folder.absolute().name,
        row.cells.get("licence") or UNKNOWN_LICENCE,
    )


def _top_folder(path: Path, folder: Path) -> str:
    """First folder on the way from a data folder to a file; empty where there is none."""
    # A link keeps the name that it has in the data folder: nothing is resolved.
    parts = Path(os.path.relpath(path, folder)).parts
    return parts[0] if len(parts) > 1 and parts[0] != os.pardir else ""


def _negative_role(row: Row, top: str) -> str:
    """What is no phrase: as the folder says, otherwise speech where label or speaker say so."""
    if top in FOLDER_ROLES:
        return FOLDER_ROLES[top]
    spoken = same_word(row.cells["label"], "speech") or row.cells.get("speaker")
    return "speech" if spoken else "noise"


def _tell(report: Report, place: str, found: Sequence[Recording], left_out: Counter[str]) -> None:
    roles = Counter(recording.role for recording in found)
    line = ", ".join(f"{count} {role}" for role, count in roles.items()) or "nothing"
    if left_out:
        rows = [f"{count} of {what}" for what, count in left_out.most_common()]
        line += f"; left out: {few(rows, 8)}"
    report(f"{place}: {line}")


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
