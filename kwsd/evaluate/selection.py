"""Selection: which recordings are positives, which negatives, and who speaks.

Folders say it alone, or with an index: a CSV with the columns path (relative to the index), label,
set, speaker and split, of which all but path may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kwsd.errors import AudioError, MissingFileError, UsageError
from kwsd.evaluate.index import read_rows, voice
from kwsd.evaluate.label import holds_phrase, same_word
from kwsd.evaluate.recording import find_recordings


@dataclass(frozen=True)
class Positive:
    """A recording of the word."""

    path: Path
    """The file."""

    speaker: str
    """Who speaks, by collection and name as the index has them; empty where it is not known."""


@dataclass(frozen=True)
class Selection:
    """What an evaluation hears."""

    positives: tuple[Positive, ...]
    """Recordings of the word, in a fixed order."""

    negatives: tuple[Path, ...]
    """Recordings without it, in a fixed order."""


Index = dict[Path, dict[str, str]]


def select(
    positives: Sequence[Path],
    negatives: Sequence[Path],
    index: Path | None,
    label: str,
    split: str | None,
) -> Selection:
    """Choose recordings.

    Parameters
    ----------
    positives : sequence of Path
        Folders or files; empty takes every file of the index with the label.
    negatives : sequence of Path
        Folders or files.
    index : Path, optional
        Restricts what it lists: positives to the label, negatives to other labels without the word
        in them, both to the split. Files that it does not list stay.
    label : str
        The word, as the index calls it; as in training neither case nor spaces nor underscores
        count.
    split : str, optional
        For example ``dev``.

    Returns
    -------
    Selection

    Raises
    ------
    UsageError
        Neither folder nor index for the positives, or a split without an index.
    MissingFileError
        A folder, the index, or every file of the label is missing.
    """
    if index is None:
        if split is not None:
            raise UsageError(f"--split {split} needs --index FILE, which says what is in it")
        if not positives:
            raise UsageError("no positives: name folders with --positives, or --index and --label")
    rows: Index = {} if index is None else read_index(index)

    def fits(path: Path, wanted: bool) -> bool:
        row = rows.get(path.resolve())
        if row is None:
            return True
        if split is not None and row.get("split") != split:
            return False
        told = row.get("label") or ""
        if not wanted and holds_phrase(told, label):
            return False
        return _says(row, label) == wanted or not told

    found = find_recordings(positives) if positives else _listed(rows, label)
    chosen = [path for path in found if fits(path, wanted=True)]
    if not chosen:
        raise MissingFileError(_nothing(index, label, split, rows))
    heard = {path.resolve() for path in chosen}
    others = [
        path
        for path in find_recordings(negatives)
        if fits(path, wanted=False) and path.resolve() not in heard
    ]
    return Selection(
        tuple(Positive(p, _voice(rows.get(p.resolve(), {}))) for p in chosen),
        tuple(others),
    )


def read_index(path: Path) -> Index:
    """Rows of an index by resolved path.

    Raises
    ------
    MissingFileError
        It is not there.
    AudioError
        It has no column ``path``.
    ConfigError
        It is no table in UTF-8, or a row of it is none.
    """
    columns, rows = read_rows(path)
    if "path" not in columns:
        raise AudioError(f"{path} has no column 'path': it is no index of recordings")
    return {(path.parent / row.cells["path"]).resolve(): row.cells for row in rows}


def _voice(row: dict[str, str]) -> str:
    return voice(row.get("set", ""), row.get("speaker", ""))


def _says(row: dict[str, str], label: str) -> bool:
    told = row.get("label") or ""
    return told != "" and same_word(told, label)


def _listed(rows: Index, label: str) -> list[Path]:
    return sorted(path for path, row in rows.items() if _says(row, label))


def _nothing(index: Path | None, label: str, split: str | None, rows: Index) -> str:
    labels = sorted({row.get("label") or "" for row in rows.values()} - {""})
    where = "" if split is None else f" and split {split!r}"
    known = ", ".join(labels[:12]) or "none"
    return f"no positive with label {label!r}{where} in {index}; labels there: {known}"
