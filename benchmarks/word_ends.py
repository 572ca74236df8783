"""How well the end of a word is found: a model's moment of detection against several estimates.

    python -m benchmarks.word_ends NAME ... --index DATA/index.csv

Nobody has marked where the words of the recordings end. But a model answers at a nearly fixed time
behind the end, so the estimate whose distance to the answer scatters least is the best one, as long
as the model was not trained on that very estimate. Prints, for every pre-emphasis, the percentiles
of the distance and how wide its middle 90 % are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.ending import ended
from kwsd.block import SAMPLE_RATE_HZ
from kwsd.errors import AudioError
from kwsd.evaluate.curve import first_crossing
from kwsd.evaluate.recording import parts_of, read_part, speech_bounds
from kwsd.evaluate.scoring import Scorer
from kwsd.evaluate.selection import select
from kwsd.evaluate.stage import stage_utterance
from kwsd.evaluate.surroundings import QUIET
from kwsd.model.find import find_package
from kwsd.model.package import load_package

PRE_EMPHASES = (0.0, 0.5, 0.7, 0.9, 0.95)
PERCENTILES = (5, 25, 50, 75, 95)


def distances_ms(model: str, index: Path, every: int) -> dict[float, list[float]]:
    """Detection minus estimated end of every recording that is found, by pre-emphasis."""
    package = load_package(find_package(model))
    threshold = package.sensitivities["medium"].threshold
    found: dict[float, list[float]] = {value: [] for value in PRE_EMPHASES}
    scorer = Scorer([package])
    chosen = select([], [], index, package.phrase, None).positives[::every]
    for number, positive in enumerate(chosen):
        try:
            part, *_ = parts_of(positive.path)
            staged = stage_utterance(part, QUIET, np.random.default_rng([number]))
            pcm = read_part(part)
        except AudioError:
            continue
        (track,) = scorer.score(staged.pcm)
        at = first_crossing(track.end_samples, track.smoothed, staged.onset_sample, threshold)
        if at is None:
            continue
        start = staged.end_sample - speech_bounds(pcm)[1]
        for value, distances in found.items():
            end = start + speech_bounds(pcm, value)[1]
            distances.append(1000.0 * (at - end) / SAMPLE_RATE_HZ)
    scorer.close()
    return found


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument(
        "--every", type=int, default=1, help="take every Nth recording only", metavar="N"
    )
    return ended("word_ends", _run, parser.parse_args())


def _run(args: argparse.Namespace) -> None:
    for model in args.models:
        for value, distances in distances_ms(model, args.index, args.every).items():
            if not distances:
                print(f"{model}: none of its words was found")
                break
            shown = np.percentile(distances, PERCENTILES)
            width = shown[-1] - shown[0]
            print(
                f"{model:14} pre-emphasis {value:4g}  n {len(distances):3}  "
                f"{' '.join(f'{ms:5.0f}' for ms in shown)} ms  width {width:4.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
