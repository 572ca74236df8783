"""How many of a folder's words microWakeWord's "alexa" misses, at its own cut-off.

    python -m benchmarks.foreign_peers OUT/espeak-ng OUT/flite OUT/piper

The folders are those of `benchmarks.foreign_voices`. The detector hears each file between 1.5 s and
1 s of quiet noise, without any front end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from kwsd.evaluate.intervals import wilson

RATE_HZ = 16_000
BEFORE_S, BEHIND_S = 1.5, 1.0
NOISE_STEPS = 8


def hears(pcm: np.ndarray) -> bool:
    """Whether the detector fires on int16 [n]."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    rng = np.random.default_rng(0)
    quiet = [
        rng.integers(-NOISE_STEPS, NOISE_STEPS, round(seconds * RATE_HZ)).astype(np.int16)
        for seconds in (BEFORE_S, BEHIND_S)
    ]
    model, features = MicroWakeWord.from_builtin(Model.ALEXA), MicroWakeWordFeatures()
    audio = np.concatenate([quiet[0], pcm, quiet[1]])
    return any(
        model.process_streaming(frame) for frame in features.process_streaming(audio.tobytes())
    )


def main() -> None:
    """Print a row for each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        files = sorted(folder.rglob("*.wav"))
        misses = sum(not hears(soundfile.read(path, dtype="int16")[0]) for path in files)
        low, high = wilson(misses, len(files))
        share = 100 * misses / len(files)
        print(
            f"| {folder.name} | {share:.1f} % [{100 * low:.1f}-{100 * high:.1f}] "
            f"({misses} of {len(files)}) |"
        )


if __name__ == "__main__":
    main()
