"""Pools: everything that training draws from, as log mel power, made once and kept on disk.

Sounds are mixed by adding powers, so noise, level and microphone colour can be drawn anew for
every window at almost no cost, and the level-normalised feature is computed after mixing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.features import HOP_SAMPLES
from kwsd.errors import AudioError
from kwsd.evaluate.rooms import Room, simulate_rooms
from kwsd.progress import Report
from kwsd.train.corpus import Item, load_manifest
from kwsd.train.listen import LogPower, join, known_length_s, log_power, read_audio, stretches
from kwsd.train.measured_rooms import measured_rooms
from kwsd.train.phrase import contains, contains_word
from kwsd.train.recordings import Recording
from kwsd.train.stationary import stationary_noises
from kwsd.train.studio import PIECE_LENGTHS_S, SAYINGS_A_PIECE, Piece, Studio, work_through
from kwsd.train.work_file import work_file

FloatArray = NDArray[np.float32]

MIN_POSITIVES = 20
"""Fewer sayings of a phrase teach nothing."""

ROOMS = 100
NEGATIVE_KINDS = ("speech", "synthetic", "bulk", "noise", "residue", "tone")
RESIDUE_SECONDS = 3600.0
RESIDUE_REPEATS = 3
PLAYED_ABOVE_S = {"noise": 2.0, "speech": 6.0}
"""Recordings longer than this are also played by the loudspeaker, for the echo residue."""

PLAYED_S = 4 * 3600.0
"""As much of them is drawn and held in memory: 0.9 GB."""


@dataclass(frozen=True)
class Word:
    """One saying of a phrase."""

    frames: LogPower
    """float16 [frames, bands], log mel power."""

    first: int
    """Frame in which the word begins: a recording's own room may lie before it."""

    end: int
    """Frame in which it ends."""

    real: bool
    """A recording, not synthesised."""

    phrase: int = 0
    """Which of the phrases."""


@dataclass(frozen=True)
class Pools:
    """What windows are drawn from."""

    words: list[Word]
    """Positives of all phrases."""

    negatives: dict[str, LogPower]
    """Long streams float16 [frames, bands] by kind; none says any phrase."""

    skipped: dict[str, str] = field(default_factory=dict)
    """Recordings of which nothing could be used, by resolved path, and why."""

    names: tuple[str, ...] = ()
    """The phrases in the order of their numbers, as they were given; empty where nobody asks."""


@dataclass(frozen=True)
class Spoken:
    """A phrase and its synthetic speech."""

    phrase: str
    """As it was given."""

    corpus: Path | None = None
    """Renderings; its development voices are left out."""

    phonemes: str = ""
    """Pronunciation with stress."""

    phones: str = ""
    """Pronunciation: a rendering that contains it is no negative."""

    british: str = ""
    """The same as British voices say it: a rendering that has it for a word is no negative."""

    def said_in(self, phonemes: str) -> bool:
        """Whether a rendering says the phrase, in either way."""
        return contains(phonemes, self.phones) or contains_word(phonemes, self.british)

    def rendered(self, split: str, counts: dict[str, int]) -> list[tuple[Path, Item]]:
        """Renderings of one part, and what each is; `counts` says how many of each kind count."""
        if self.corpus is None:
            return []
        items = load_manifest(self.corpus, counts)
        return [(self.corpus / item.path, item) for item in items if item.split == split]


@dataclass(frozen=True)
class Amounts:
    """How much of everything."""

    renderings: dict[str, int]
    """Items of each kind of each corpus."""

    sayings: int = 0
    """By the fast voice, of each phrase."""

    bulk_seconds: float = 0.0
    """Length of the bulk speech."""

    rooms: int = ROOMS
    """Simulated rooms."""

    residue_seconds: float = RESIDUE_SECONDS
    """Length of the echo residue."""


def prepare(
    spoken: Sequence[Spoken],
    recordings: Sequence[Recording],
    amounts: Amounts,
    seed: int,
    report: Report,
    responses: Sequence[Path] = (),
    workers: int = 1,
) -> Pools:
    """Make the pools.

    Parameters
    ----------
    spoken : sequence of Spoken
        The phrases; their order gives `Word.phrase`.
    recordings : sequence of Recording
        Real recordings of the training part.
    amounts : Amounts
        How much of everything.
    seed : int
        Of all draws.
    report : callable
        Gets one line per finished part.
    responses : sequence of Path
        Measured impulse responses of rooms.
    workers : int
        Processes; they change nothing in the result.

    Raises
    ------
    AudioError
        Fewer than `MIN_POSITIVES` sayings of a phrase can be read.
    """
    rng = np.random.default_rng([seed, 1])
    rooms: list[Room] = simulate_rooms(amounts.rooms, rng)
    if responses:
        rooms += measured_rooms(responses, [room.loudspeaker for room in rooms], rng)
    music = _played_sounds(recordings, seed)
    unwanted = tuple(item.phones for item in spoken if item.phones)
    studio = Studio(seed, tuple(rooms), music, unwanted)
    report(f"rooms: {len(rooms)}, sounds to play: {len(music)}")
    music_s = sum(map(len, music)) / SAMPLE_RATE_HZ
    pieces = _pieces(spoken, recordings, amounts, music_s)
    numbered = [replace(piece, number=number) for number, piece in enumerate(pieces)]
    words: list[Word] = []
    clips: Counter[int] = Counter()
    streams: dict[str, list[LogPower]] = {kind: [] for kind in NEGATIVE_KINDS}
    skipped: dict[str, str] = {}
    used: set[str] = set()
    for piece, heard in work_through(numbered, studio, workers):
        if heard.skipped:
            print(f"skipped: {heard.skipped}", file=sys.stderr)
            skipped[piece.file] = heard.skipped
        else:
            used.add(piece.file)
        if heard.words:
            clips[piece.phrase] += SAYINGS_A_PIECE if piece.kind == "sayings" else 1
        real = piece.kind == "recorded word"
        words += [Word(frames, a, b, real, piece.phrase) for frames, a, b in heard.words]
        if heard.streams:
            streams[piece.kind] += heard.streams
        streams["tone"] += heard.tones
        if piece.number % 1000 == 999:
            report(f"heard {piece.number + 1} of {len(numbered)}")
    _check_enough(spoken, recordings, clips)
    report(f"positives: {sum(clips.values())} clips, {len(words)} with copies")
    streams["noise"] += [log_power(pcm) for pcm in stationary_noises(rng)]
    report("others: " + hours(streams))
    negatives = {}
    for kind, parts in streams.items():
        parts[:] = [parts[number] for number in rng.permutation(len(parts))]
        negatives[kind] = join(parts)
    # Of a long recording some stretch may be silent.
    unused = {file: why for file, why in skipped.items() if file not in used}
    return Pools(words, negatives, unused, tuple(item.phrase for item in spoken))


def _pieces(
    spoken: Sequence[Spoken],
    recordings: Sequence[Recording],
    amounts: Amounts,
    music_s: float,
) -> list[Piece]:
    pieces: list[Piece] = []
    for number, item in enumerate(spoken):
        for path, row in item.rendered("train", amounts.renderings):
            if row.kind == "positive":
                pieces.append(Piece("rendered word", 0, path, phrase=number))
            elif not any(each.said_in(row.phonemes) for each in spoken):
                pieces.append(Piece("synthetic", 0, path))
        for _ in range(-(-amounts.sayings // SAYINGS_A_PIECE) if item.phonemes else 0):
            pieces.append(Piece("sayings", 0, phonemes=item.phonemes, phrase=number))
    phrases = [item.phrase for item in spoken]
    for recording in recordings:
        if recording.role == "positive":
            number = phrases.index(recording.phrase)
            pieces.append(Piece("recorded word", 0, recording.path, phrase=number))
        else:
            pieces += [Piece(recording.role, 0, sound) for sound in stretches(recording.path)]
    # More residue than this would only repeat the same sounds.
    longest_s = RESIDUE_REPEATS * music_s
    lengths_s = {
        "bulk": amounts.bulk_seconds,
        "residue": min(amounts.residue_seconds, longest_s),
    }
    for kind, length_s in lengths_s.items():
        pieces += [Piece(kind, 0)] * int(np.ceil(length_s / PIECE_LENGTHS_S[kind]))
    return pieces


def _played_sounds(recordings: Sequence[Recording], seed: int) -> tuple[FloatArray, ...]:
    """Long recordings, for the loudspeaker to play; of too many some, drawn by chance."""
    long = [
        sound
        for recording in recordings
        if recording.role in PLAYED_ABOVE_S
        for sound in stretches(recording.path)
        if known_length_s(sound) > PLAYED_ABOVE_S[recording.role]
    ]
    order = np.random.default_rng([seed, 7]).permutation(len(long))
    until_s = np.cumsum([known_length_s(long[int(i)]) for i in order])
    sounds = []
    for number in sorted(order[until_s <= PLAYED_S]):
        try:
            sounds.append(read_audio(long[int(number)]))
        except AudioError:
            continue  # listed when it is heard
    return tuple(sounds)


def _check_enough(
    spoken: Sequence[Spoken], recordings: Sequence[Recording], clips: Counter[int]
) -> None:
    for number, item in enumerate(spoken):
        if clips[number] < MIN_POSITIVES:
            files = sum(r.role == "positive" and r.phrase == item.phrase for r in recordings)
            raise AudioError(
                f"{clips[number]} usable recordings of {item.phrase!r} ({files} files): at least "
                f"{MIN_POSITIVES} are needed; what was skipped is listed above"
            )


def hours(streams: dict[str, list[LogPower]]) -> str:
    """How long each kind is, for a report."""
    return ", ".join(
        f"{kind} {sum(map(len, parts)) * HOP_SAMPLES / SAMPLE_RATE_HZ / 3600:.2f} h"
        for kind, parts in streams.items()
    )


def recipe_key(parts: Iterable[object]) -> str:
    """Hash of everything that determines the pools, for the cache's file name."""
    return hashlib.sha256(json.dumps([str(p) for p in parts]).encode()).hexdigest()[:16]


def save(pools: Pools, path: Path) -> None:
    """Store for a later run; complete or not at all."""
    starts = np.cumsum([0, *(len(word.frames) for word in pools.words)])
    arrays: dict[str, Any] = {
        "words": np.concatenate([word.frames for word in pools.words]),
        "starts": starts,
        "firsts": np.array([word.first for word in pools.words]),
        "ends": np.array([word.end for word in pools.words]),
        "real": np.array([word.real for word in pools.words]),
        "phrases": np.array([word.phrase for word in pools.words]),
    }
    arrays |= {f"negative_{kind}": stream for kind, stream in pools.negatives.items()}
    arrays["skipped"] = np.array([*pools.skipped.items()], dtype=np.str_).reshape(-1, 2)
    arrays["names"] = np.array(pools.names, dtype=np.str_)
    with work_file(path) as place:
        np.savez(place, **arrays)


def load(path: Path) -> Pools:
    """What `save` has stored."""
    with np.load(path, allow_pickle=False) as stored:
        frames, starts = stored["words"], stored["starts"]
        words = [
            Word(frames[a:b], int(first), int(end), bool(real), int(phrase))
            for a, b, first, end, real, phrase in zip(
                starts[:-1],
                starts[1:],
                stored["firsts"],
                stored["ends"],
                stored["real"],
                stored["phrases"],
                strict=True,
            )
        ]
        negatives = {kind: stored[f"negative_{kind}"] for kind in NEGATIVE_KINDS}
        skipped = {str(file): str(why) for file, why in stored["skipped"]}
        return Pools(words, negatives, skipped, tuple(map(str, stored["names"])))
