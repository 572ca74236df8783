"""How many of a folder's words microWakeWord's "alexa" misses, at its own cut-off.

    python -m benchmarks.foreign_peers OUT/espeak-ng OUT/flite OUT/piper

The folders are those of `benchmarks.foreign_voices`. The detector hears each file between 1.5 s and
1 s of quiet noise, without any front end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.echo.judges import third_party
from benchmarks.echo.rooms import RATE_HZ
from benchmarks.ending import ended
from kwsd.errors import MissingFileError
from kwsd.evaluate.intervals import wilson

BEFORE_S, BEHIND_S = 1.5, 1.0
QUIET = 2.5e-4


def between_noise(word: np.ndarray) -> np.ndarray:
    """A word, float32 [n], with quiet noise before and behind it."""
    rng = np.random.default_rng(0)
    before, behind = (
        rng.uniform(-QUIET, QUIET, round(seconds * RATE_HZ)).astype(np.float32)
        for seconds in (BEFORE_S, BEHIND_S)
    )
    return np.concatenate([before, word, behind])


def _run(args: argparse.Namespace) -> None:
    listed = [(folder, sorted(folder.rglob("*.wav"))) for folder in args.folders]
    for folder, files in listed:
        if not files:
            raise MissingFileError(
                f"{folder} holds no .wav file: name a folder of benchmarks.foreign_voices"
            )
    judge = third_party()
    for folder, files in listed:
        misses = sum(
            not judge(between_noise(soundfile.read(path, dtype="float32")[0])) for path in files
        )
        low, high = wilson(misses, len(files))
        share = 100 * misses / len(files)
        print(
            f"| {folder.name} | {share:.1f} % [{100 * low:.1f}-{100 * high:.1f}] "
            f"({misses} of {len(files)}) |"
        )


def main() -> int:
    """Print a row for each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    return ended("foreign_peers", _run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
