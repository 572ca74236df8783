"""The recordings that a command names: each is in one part, is one thing and counts once."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kwsd.digest import sha256_hex
from kwsd.errors import UsageError
from kwsd.progress import Report
from kwsd.train.recordings import SPLITS, Recording, few, indexed, plain_folder


@dataclass(frozen=True)
class Source:
    """What one option of the command names."""

    place: str
    """The option and its folder, for messages."""

    split: str
    """train or dev."""

    recordings: list[Recording]
    """All of it."""


def learnt(args: argparse.Namespace) -> list[str]:
    """All phrases of a command; those that get no package stand last."""
    return [*args.phrases, *args.beside]


def option(key: str) -> str:
    """An option as it is written."""
    return f"--{key.replace('_', '-')}"


def gather(args: argparse.Namespace, report: Report) -> dict[str, list[Recording]]:
    """Recordings of both parts that the options of `kwsmodel train` name.

    Parameters
    ----------
    args : Namespace
        Phrases and folders.
    report : callable
        Gets a line on each folder, and what `apart` has to say.

    Returns
    -------
    dict of list of Recording
        By ``train`` and ``dev``.

    Raises
    ------
    UsageError
        A file trains and judges, or is named as two different things.
    MissingFileError, AudioError, ConfigError
        A folder or its index cannot be used: `kwsd.train.recordings`.
    """
    return apart((s for split in SPLITS for s in _sources(args, split, report)), report)


def _sources(args: argparse.Namespace, split: str, report: Report) -> Iterator[Source]:
    for folder in args.data:
        found = indexed(folder, learnt(args), split, report)
        yield Source(f"--data {folder}, {split}", split, found)
    trains = split == "train"
    prefix = "" if trains else "dev_"
    kinds = [(f"{prefix}positives", "positive"), (f"{prefix}negatives", "speech")]
    for key, role in [*kinds, ("noise", "noise")] if trains else kinds:
        phrase = args.phrases[0] if role == "positive" else ""
        for folder in getattr(args, key):
            found = plain_folder(folder, role, phrase, trains, report)
            yield Source(f"{option(key)} {folder}", split, found)


def apart(sources: Iterable[Source], report: Report) -> dict[str, list[Recording]]:
    """Recordings of each part, in the order of the sources, each file once.

    Parameters
    ----------
    sources : iterable of Source
        Of both parts.
    report : callable
        Gets a line on files that were named twice, and one on speakers and one on copies of files
        that are in both parts.

    Returns
    -------
    dict of list of Recording
        By ``train`` and ``dev``.

    Raises
    ------
    UsageError
        A file trains and judges, or is named as two different things.
    """
    parts: dict[str, list[Recording]] = {split: [] for split in SPLITS}
    named: dict[Path, tuple[Source, Recording]] = {}
    for source in sources:
        again = 0
        for recording in source.recordings:
            # Behind links, for the same file may be reached by two ways.
            file = recording.path.resolve()
            if file in named:
                _check_same(*named[file], source, recording)
                again += 1
            else:
                named[file] = source, recording
                parts[source.split].append(recording)
        if again:
            report(f"{source.place}: {again} recordings are named a second time and count once")
    _tell_speakers(parts, report)
    _tell_copies(parts, report)
    return parts


def _check_same(one: Source, first: Recording, other: Source, second: Recording) -> None:
    """A file that is named twice is in one part and is one thing."""
    if one.split != other.split:
        raise UsageError(
            f"{second.path} trains ({one.place}) and judges ({other.place}): figures on what was "
            "learnt say nothing; keep the parts in two folders, or in an index with a split"
        )
    # What judges is heard as it is: there a sound is a negative like speech.
    judges = one.split == "dev" and "positive" not in (first.role, second.role)
    if not judges and (first.role, first.phrase) != (second.role, second.phrase):
        raise UsageError(
            f"{second.path} is {_thing(first)} ({one.place}) and {_thing(second)} "
            f"({other.place}): a recording is one of them; leave it out of one place"
        )


def _thing(recording: Recording) -> str:
    return repr(recording.phrase) if recording.role == "positive" else recording.role


def _tell_speakers(parts: dict[str, list[Recording]], report: Report) -> None:
    """A voice that was learnt is found more easily; the figures would not say so."""
    train, develop = (
        dict.fromkeys((item.set, item.speaker) for item in parts[split] if item.speaker)
        for split in SPLITS
    )
    both = [f"{speaker} of {name}" for name, speaker in train if (name, speaker) in develop]
    if both:
        report(
            f"warning: {len(both)} speakers train and judge ({few(both, 3)}): thresholds and "
            "figures flatter the model; give each speaker one split"
        )


def _tell_copies(parts: dict[str, list[Recording]], report: Report) -> None:
    """The same under another name; only files of one size are read."""
    train: dict[int, list[Path]] = {}
    for item in parts["train"]:
        train.setdefault(_size(item.path), []).append(item.path)
    contents: dict[Path, str] = {}

    def content(path: Path) -> str:
        if path not in contents:
            contents[path] = sha256_hex(path.read_bytes())
        return contents[path]

    copies = []
    train.pop(0, None)
    for item in parts["dev"]:
        alike = train.get(_size(item.path), ())
        try:
            same = [one for one in alike if content(one) == content(item.path)]
        except OSError:
            continue  # that it cannot be read is told when it is heard
        if same:
            copies.append(f"{item.path} of {same[0]}")
    if copies:
        report(
            f"warning: {len(copies)} recordings that judge are copies of some that train "
            f"({few(copies, 2)}): thresholds and figures flatter the model; remove one of each"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
