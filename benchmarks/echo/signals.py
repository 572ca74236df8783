"""What front ends do to signals: echo return loss enhancement, convergence, near-end loss, quality.

    python -m benchmarks.echo.signals --words WORDS --data DATA

The sessions of `benchmarks.echo.scenes`. Far end alone: ERLE is microphone over output, in windows
of half a second. Double talk at 0 dB speech-to-echo ratio: the part of the output that is the near
end (least squares against the near end alone, per word) says how much of it was lost; PESQ and STOI
compare output and near end where words are. Words decide what a front end is good for: these are
figures for those who know them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.echo.material import load
from benchmarks.echo.processors import Processor, all_processors, reference_for
from benchmarks.echo.rooms import RATE_HZ, FloatArray
from benchmarks.echo.scenes import CONDITIONS, Scene, wake_scenes

WINDOW = RATE_HZ // 2
CONVERGED_DB = 20.0
LARGEST_LAG = RATE_HZ // 25
BEFORE, BEHIND = RATE_HZ, RATE_HZ // 4
"""Around the end of a word: a second before and a quarter behind hold it."""


@dataclass(frozen=True)
class Measures:
    """Of one front end in one session."""

    erle_2s_db: float
    erle_end_db: float
    converged_s: float
    near_loss_db: float
    pesq: float
    stoi: float


def _power(signal: FloatArray) -> float:
    return float(np.mean(signal.astype(np.float64) ** 2)) + 1e-15


def erle_db(mic: FloatArray, out: FloatArray) -> FloatArray:
    """One value a window, NaN where nothing is played."""
    values = []
    for start in range(0, len(out) - WINDOW + 1, WINDOW):
        part = slice(start, start + WINDOW)
        loud = _power(mic[part]) > 1e-8
        values.append(10 * np.log10(_power(mic[part]) / _power(out[part])) if loud else np.nan)
    return np.array(values)


def lag_of(near: FloatArray, out: FloatArray) -> int:
    """By how many samples the near end comes later in the output."""
    size = 1 << int(np.ceil(np.log2(2 * len(near))))
    cross = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(near, size)), size)
    return int(np.argmax(cross[:LARGEST_LAG]))


def words_of(scene: Scene, signal: FloatArray) -> list[FloatArray]:
    """The stretches in which words are."""
    return [signal[end - BEFORE : end + BEHIND] for end in scene.word_ends]


def near_loss_db(near: list[FloatArray], out: list[FloatArray]) -> float:
    """Median over words of what the near end has lost; above 0 is a loss."""
    losses = []
    for clean, heard in zip(near, out, strict=True):
        gain = float(clean @ heard) / max(float(clean @ clean), 1e-12)
        losses.append(-20 * np.log10(max(gain, 1e-3)))
    return float(np.median(losses))


def quality(near: FloatArray, out: FloatArray) -> tuple[float, float]:
    """Wide-band PESQ and STOI; NaN where the package is missing or finds no speech."""
    pesq_value = stoi_value = float("nan")
    try:
        from pesq import PesqError, pesq

        try:
            pesq_value = float(pesq(RATE_HZ, near, out, "wb"))
        except PesqError:
            pass
    except ImportError:
        pass
    try:
        from pystoi import stoi

        stoi_value = float(stoi(near, out, RATE_HZ))
    except ImportError:
        pass
    return pesq_value, stoi_value


def measure(name: str, process: Processor, scene: Scene) -> Measures:
    """Far end alone, then double talk."""
    reference = reference_for(name, scene)
    far = (scene.echo + scene.noise).astype(np.float32)
    out = process(far, reference)[: far.shape[1]]
    erle = erle_db(far[0], out)
    reached = np.flatnonzero(erle >= CONVERGED_DB)
    mixed = scene.mix(0.0)
    heard = process(mixed, reference)[: mixed.shape[1]]
    lag = lag_of(scene.near[0], heard)
    heard = np.pad(heard[lag:], (0, lag + mixed.shape[1] - len(heard)))
    near_words, out_words = words_of(scene, scene.near[0]), words_of(scene, heard)
    pesq_value, stoi_value = quality(np.concatenate(near_words), np.concatenate(out_words))
    return Measures(
        float(np.nanmedian(erle[4:6])),
        float(np.nanmedian(erle[-20:])),
        float(reached[0] + 1) * WINDOW / RATE_HZ if len(reached) else float("inf"),
        near_loss_db(near_words, out_words),
        pesq_value,
        stoi_value,
    )


def main() -> int:
    """Print the table, medians over sessions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", help="front ends whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    scenes = wake_scenes(load(options.words, options.data, options.seed), options.seed)
    processors, missing = all_processors()
    for name in missing:
        print(f"skipped: {name}", file=sys.stderr)
    print(f"medians over {len(CONDITIONS)} sessions; in brackets: sessions that reach 20 dB")
    columns = ("ERLE at 2-3 s", "ERLE, last 10 s", "20 dB after", "near-end loss", "PESQ", "STOI")
    print("| front end | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name, process in processors.items():
        if options.only and options.only not in name:
            continue
        found = [measure(name, process, scene) for scene in scenes]
        reached = sum(np.isfinite(row.converged_s) for row in found)
        middle = {
            key: float(np.nanmedian([getattr(row, key) for row in found]))
            for key in Measures.__dataclass_fields__
        }
        print(
            f"| {name} | {middle['erle_2s_db']:.1f} dB | {middle['erle_end_db']:.1f} dB "
            f"| {middle['converged_s']:.1f} s ({reached} of {len(found)}) "
            f"| {middle['near_loss_db']:.1f} dB | {middle['pesq']:.2f} | {middle['stoi']:.2f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
