"""The synthetic corpus of one phrase: many speakers saying it, near phrases, and other speech.

Every item is determined by (phrase, seed, kind, number) alone, so an interrupted build goes on
where it stopped and the number of workers changes nothing. Recipe and its reasons:
docs/training.md.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from kwsd.train.kokoro import RATE_HZ, Kokoro
from kwsd.train.phrase import WORDS, edit_phonemes, near_words, sentence, spoken_form
from kwsd.train.work_file import work_file
from kwsd.worker_pool import worker_pool

FloatArray = NDArray[np.float32]
KINDS = ("positive", "near", "other")

RENDERING = 2
"""Raise it where an item of the same phrase, seed, kind and number changes."""

OUTLIER_VOICES = frozenset(
    "em_santa pm_santa am_santa em_alex ef_dora jf_tebukuro jf_alpha zf_xiaobei zm_yunxia".split()
)
"""Gravelly voices, near duplicates and voices that other engines fail to recognise."""

DEVELOPMENT_VOICES = frozenset({"af_bella", "am_michael", "bm_george"})
"""Anything rendered with a part of these is for development, never for training."""

STYLE_ROWS = 120
CARRIERS = ("{}.", "{}?", "{}!", "{}", "{},", "{}...")
SPEED_RANGE = (0.8, 1.5)
PEAK = 0.5


def held_out(voices: Iterable[str]) -> bool:
    """Whether nothing of a speaker trained: one of a mixture with another voice did in part."""
    return DEVELOPMENT_VOICES.issuperset(voices)


@dataclass(frozen=True)
class Item:
    """One rendering; a line of the manifest."""

    path: str
    kind: str
    phonemes: str
    style: str
    voices: tuple[str, ...]
    speed: float
    seconds: float
    split: str


def phrase_number(phrase: str) -> int:
    """The same number for a phrase in every run."""
    return zlib.crc32(phrase.encode())


class Renderer:
    """Draws styles, texts and speeds; one per process, since it holds the synthesizer."""

    def __init__(self, cache: Path, phrase: str) -> None:
        self.kokoro = Kokoro(cache)
        self.phrase = phrase
        self.voices = [v for v in self.kokoro.voices if v not in OUTLIER_VOICES]
        self.english = [v for v in self.voices if v[0] in "ab"]
        self._near: list[str] | None = None

    def _voice(self, rng: np.random.Generator) -> str:
        pool = self.english if rng.random() < 0.6 else self.voices
        return pool[int(rng.integers(len(pool)))]

    def style(self, rng: np.random.Generator) -> tuple[FloatArray, str, tuple[str, ...]]:
        """A speaker: half are mixtures, three in ten swap timbre and prosody, the rest plain."""
        first, second = self._voice(rng), self._voice(rng)
        a, b = (self.kokoro.style(v)[:STYLE_ROWS] for v in (first, second))
        kind = rng.random()
        if kind < 0.5:
            share = float(rng.uniform(-0.3, 1.3))
            mixed = (share * a + (1 - share) * b).astype(np.float32)
            return mixed, f"{first}*{share:.2f}+{second}", (first, second)
        if kind < 0.8:
            # Dimensions 0-127 of a style carry timbre, the others prosody.
            return np.concatenate([b[:, :128], a[:, 128:]], 1), f"{second}/{first}", (first, second)
        return a, first, (first,)

    def text(self, kind: str, british: bool, rng: np.random.Generator) -> str:
        """Phonemes of one item."""
        say = self.kokoro.phonemes
        if kind == "positive":
            carrier = CARRIERS[int(rng.integers(len(CARRIERS)))]
            return say(carrier.format(spoken_form(self.phrase)), british)
        if kind == "near":
            if rng.random() < 0.5:
                if self._near is None:
                    self._near = near_words(self.phrase, say(spoken_form(self.phrase)))
                word = self._near[int(rng.integers(len(self._near)))]
                return say(f"{word.capitalize()}.", british)
            return edit_phonemes(say(spoken_form(self.phrase), british), rng) + "."
        if rng.random() < 0.45:
            return say(f"{WORDS[int(rng.integers(len(WORDS)))].capitalize()}.", british)
        return say(sentence(rng), british)

    def render(self, kind: str, number: int, seed: int) -> tuple[FloatArray, Item] | None:
        """One item, or None where the result cannot be what was asked for."""
        # Words are said by the same speakers; talk must differ, or it counts once for each word.
        own = [phrase_number(self.phrase)] if kind == "other" else []
        rng = np.random.default_rng([seed, KINDS.index(kind), number, *own])
        style, recipe, voices = self.style(rng)
        british = voices[0].startswith("b") or rng.random() < 0.15
        speed = float(np.exp(rng.uniform(*np.log(SPEED_RANGE))))
        phonemes = self.text(kind, british, rng)
        audio = trim(self.kokoro.render(phonemes, style, speed))
        seconds = len(audio) / RATE_HZ
        if not 0.2 < seconds < 8.0:
            return None
        split = "dev" if DEVELOPMENT_VOICES.intersection(voices) else "train"
        peak = max(float(np.max(np.abs(audio))), 1e-4)
        path = f"{kind}/{number:05d}.wav"
        return audio * (PEAK / peak), Item(
            path, kind, phonemes, recipe, voices, round(speed, 4), round(seconds, 3), split
        )


def trim(audio: FloatArray) -> FloatArray:
    """Cut what lies 35 dB below the loudest 10 ms before and after the speech."""
    hop = RATE_HZ // 100
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop)
    level_db = 10 * np.log10((frames**2).mean(axis=1) + 1e-10)
    level_db = np.convolve(np.pad(level_db, 1, mode="edge"), np.ones(3) / 3, "valid")
    loud = np.flatnonzero(level_db > level_db.max() - 35.0)
    return audio[max(0, int(loud[0]) - 1) * hop : (int(loud[-1]) + 2) * hop]


def _store(folder: Path, audio: FloatArray, item: Item) -> None:
    """Write audio, then its line; a file under its final name is always whole."""
    target = folder / item.path
    # By way of the memory: libsndfile does not say why it could not write.
    content = io.BytesIO()
    soundfile.write(content, audio, RATE_HZ, subtype="PCM_16", format="WAV")
    with work_file(target) as place:
        place.write_bytes(content.getvalue())
        target.with_suffix(".json").write_text(json.dumps(asdict(item)) + "\n")


_renderer: Renderer | None = None


def _start(cache: Path, phrase: str) -> None:
    global _renderer
    _renderer = Renderer(cache, phrase)


def _make(job: tuple[Path, str, int, int]) -> bool:
    folder, kind, number, seed = job
    assert _renderer is not None
    made = _renderer.render(kind, number, seed)
    if made is None:
        return False
    _store(folder, *made)
    return True


def build_corpus(
    phrase: str,
    folder: Path,
    cache: Path,
    seed: int,
    counts: dict[str, int],
    workers: int = 1,
) -> Iterator[bool]:
    """Render what is missing in `folder`.

    Parameters
    ----------
    phrase : str
        The wake phrase, already linted.
    folder : Path
        Gets ``positive/``, ``near/`` and ``other/`` with 16 kHz 16-bit WAV files and, beside each,
        a JSON file that says how it was made.
    cache : Path
        Folder of the synthesizer's weights.
    seed : int
        With phrase, kind and number it determines an item completely.
    counts : dict
        How many items of each kind.
    workers : int
        Processes.

    Yields
    ------
    bool
        One value an item, for progress: False where an item was dropped.
    """
    jobs = []
    for kind, count in counts.items():
        for number in range(count):
            if not (folder / kind / f"{number:05d}.wav").is_file():
                jobs.append((folder, kind, number, seed))
    with worker_pool(workers, _start, (cache, phrase)) as pool:
        yield from pool.map(_make, jobs, chunksize=4)


def load_manifest(folder: Path, counts: dict[str, int]) -> list[Item]:
    """Finished items of a corpus folder in a fixed order, the first `counts` of each kind.

    Numbers beyond the counts are left out, so a folder that holds more gives the same model.
    """
    items = []
    for note in sorted(folder.glob("*/*.json")):
        wanted = int(note.stem) < counts.get(note.parent.name, 0)
        if wanted and note.with_suffix(".wav").is_file():
            row = json.loads(note.read_text())
            items.append(Item(**{**row, "voices": tuple(row["voices"])}))
    return items
