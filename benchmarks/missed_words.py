"""Changes of recordings that let a model find words that it misses, or lose those that it finds.

    python -m benchmarks.missed_words MODEL --index DATA/index.csv [--split dev]
    python -m benchmarks.missed_words MODEL --positives DIR ...

A change that finds many of the missed and loses few says what the training lacks: voices that
differ from the known ones in that way. Works on the mel power of the detector branch, as training
does; words are taken as found where the smoothed score reaches the threshold of `--sensitivity`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ending import ended
from kwsd.block import SAMPLE_RATE_HZ
from kwsd.dsp.features import BANDS, HOP_SAMPLES, pcen
from kwsd.errors import AudioError, UsageError
from kwsd.evaluate.curve import smooth
from kwsd.evaluate.recording import parts_of
from kwsd.evaluate.selection import select
from kwsd.evaluate.stage import stage_utterance
from kwsd.evaluate.surroundings import QUIET
from kwsd.model.find import find_package
from kwsd.model.package import ModelPackage, load_package
from kwsd.model.stream import StreamingModel
from kwsd.runtime.base import Session
from kwsd.runtime.select import EVALUATION_ORDER, open_session
from kwsd.train.listen import hear
from kwsd.train.voices import with_tract

FloatArray = NDArray[np.float32]
Change = Callable[[FloatArray], FloatArray]

PER_DB = np.log(10.0) / 10.0
"""Natural log of power per dB."""


def louder(db: float, power: FloatArray) -> FloatArray:
    """Another level."""
    return power * np.float32(np.exp(PER_DB * db))


def tilted(db: float, power: FloatArray) -> FloatArray:
    """The highest band so much louder, the lowest as much softer."""
    return power * np.exp(PER_DB * db * np.linspace(-1, 1, BANDS)).astype(np.float32)


def noisy(below_db: float, power: FloatArray) -> FloatArray:
    """Noise so far below the loudest frames, the same in all bands."""
    loudest = np.percentile(power.mean(axis=1), 98)
    return power + np.float32(loudest * np.exp(-PER_DB * below_db))


def slower(factor: float, power: FloatArray) -> FloatArray:
    """So many times as long."""
    count = max(1, round(len(power) * factor))
    return power[np.minimum((np.arange(count) / factor).astype(int), len(power) - 1)]


def shifted(log_ratio: float, power: FloatArray) -> FloatArray:
    """Formants higher by that ratio."""
    return with_tract(power, -log_ratio)


def contrasted(gain: float, power: FloatArray) -> FloatArray:
    """Log spectrum below each frame's peak times `gain`."""
    peak = power.max(axis=1, keepdims=True)
    return np.asarray(peak * (power / peak) ** np.float32(gain), np.float32)


def decaying(frames: float, power: FloatArray) -> FloatArray:
    """Each band falls no faster than by e in so many frames."""
    held = power.copy()
    for index in range(1, len(held)):
        held[index] = np.maximum(held[index], held[index - 1] * np.float32(np.exp(-1 / frames)))
    return held


def cut(band: int, power: FloatArray) -> FloatArray:
    """Next to nothing from a band on."""
    kept = power.copy()
    kept[:, band:] = np.minimum(kept[:, band:], np.float32(np.exp(-18.0)))
    return kept


def _family(
    name: str, change: Callable[..., FloatArray], values: Sequence[float]
) -> dict[str, Change]:
    return {name.format(value): partial(change, value) for value in values}


CHANGES: Mapping[str, Change] = {
    **_family("{:+g} dB", louder, (-20, -10, 10, 20)),
    **_family("tilted by {:+g} dB", tilted, (-9, -5, 5, 9)),
    **_family("noise {:g} dB below", noisy, (60, 50, 40, 30, 20)),
    **_family("{:g} times as long", slower, (0.75, 0.85, 0.93, 1.07, 1.15, 1.3)),
    **_family(
        "formants moved by {:+g}", shifted, (-0.2, -0.14, -0.08, -0.04, 0.04, 0.08, 0.14, 0.2)
    ),
    **_family("contrast times {:g}", contrasted, (0.6, 0.75, 0.87, 1.15, 1.3)),
    **_family("decay over {:g} frames", decaying, (3, 6, 12)),
    **_family("nothing from band {:g} on", cut, (26, 32, 36)),
}


@dataclass(frozen=True)
class Word:
    """A recording as the detector branch hears it."""

    power: FloatArray
    """float32 [frames, BANDS], mel power."""

    onset_frame: int
    """In which the speech begins."""


def heard_words(paths: Sequence[Path]) -> list[Word]:
    """Recordings staged as the evaluation stages them; what cannot be read is said and left out."""
    words = []
    for number, path in enumerate(paths):
        try:
            part, *_ = parts_of(path)
            staged = stage_utterance(part, QUIET, np.random.default_rng([number]))
        except AudioError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        power = np.exp(hear(staged.pcm).astype(np.float32))
        words.append(Word(power, staged.onset_sample // HOP_SAMPLES))
    return words


def is_found(
    package: ModelPackage, session: Session, threshold: float, word: Word, change: Change | None
) -> bool:
    """Whether a word, changed or as it is, reaches the threshold behind its onset."""
    power = word.power if change is None else change(word.power)
    model = StreamingModel(package, session)
    scores = [score.value for score in model.process(pcen(power), len(power) * HOP_SAMPLES)]
    steps = package.smoothing_steps
    smoothed = smooth(np.array(scores), steps)
    onset = word.onset_frame * len(power) // len(word.power) // package.frames_per_step
    return bool(smoothed[onset:].max() >= threshold)


def compare(
    package: ModelPackage, session: Session, threshold: float, words: Sequence[Word]
) -> tuple[int, dict[str, tuple[int, int]]]:
    """How many words are missed; for each change, how many of them it finds and others it loses."""
    found = [is_found(package, session, threshold, word, None) for word in words]
    table = {}
    for name, change in CHANGES.items():
        after = [is_found(package, session, threshold, word, change) for word in words]
        gained = sum(now and not before for before, now in zip(found, after, strict=True))
        lost = sum(before and not now for before, now in zip(found, after, strict=True))
        table[name] = (gained, lost)
    return found.count(False), table


def _run(args: argparse.Namespace) -> None:
    package = load_package(find_package(args.model))
    if args.sensitivity not in package.sensitivities:
        raise UsageError(
            f"--sensitivity {args.sensitivity}: {', '.join(package.sensitivities)} are allowed"
        )
    chosen = select(args.positives, [], args.index, package.phrase, args.split)
    words = heard_words([positive.path for positive in chosen.positives])
    if not words:
        raise UsageError("none of the recordings can be used: name others")
    session, _ = open_session(package, EVALUATION_ORDER)
    try:
        threshold = package.sensitivities[args.sensitivity].threshold
        missed, table = compare(package, session, threshold, words)
    finally:
        session.close()
    seconds = sum(len(word.power) for word in words) * HOP_SAMPLES / SAMPLE_RATE_HZ
    print(f"{package.name}: {missed} of {len(words)} recordings missed ({seconds:.0f} s)")
    for name, (gained, lost) in table.items():
        print(f"{name:26} found {gained:3} of {missed}, lost {lost:3} of {len(words) - missed}")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--index", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--positives", type=Path, nargs="+", default=[])
    parser.add_argument("--sensitivity", default="medium")
    return ended("missed_words", _run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
