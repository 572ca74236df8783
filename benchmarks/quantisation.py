"""int8 against float32: what quantising costs, on the same features.

    python -m benchmarks.quantisation NAME --float runs/NAME/float.npz --index DATA/index.csv \\
        --negatives DIR ... [--positives DIR ...] [--noise DIR ... --snr-db 10] [--repeats 3]

Every recording is staged and passes the front end once; the float network as it left training and
the package's int8 network then hear the same features. Each gets thresholds of its own, from the
same negatives, and both are asked which words they miss. To resolve tenths of a point many words
are needed, so all recordings of the word are taken, those that trained included: here only the
difference counts. `--repeats` stages each of them again with other noise: that makes the counts
steadier, but the interval is that of so many recordings, since draws of one are not independent.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ending import ended
from kwsd.block import FloatArray
from kwsd.config import default_config
from kwsd.dsp.features import FRAME_SAMPLES, HOP_SAMPLES, features
from kwsd.errors import AudioError
from kwsd.evaluate.curve import Curve, peak_after, peaks, smooth
from kwsd.evaluate.noise import NoisePool
from kwsd.evaluate.recording import Part, find_recordings, parts_of
from kwsd.evaluate.selection import select
from kwsd.evaluate.stage import Reel, stage_reel, stage_utterance, wind_reels
from kwsd.evaluate.surroundings import QUIET, Surroundings
from kwsd.model.find import find_package
from kwsd.model.package import ModelPackage, load_package
from kwsd.model.stream import StreamingModel
from kwsd.runtime.select import EVALUATION_ORDER, open_session
from kwsd.train.layers import STRIDE, FloatNet, forward, load_net
from kwsd.train.listen import detector_branch
from kwsd.worker_pool import worker_pool

RATES_PER_HOUR = (1.0, 0.5, 0.1)
STEP_SAMPLES = STRIDE * HOP_SAMPLES

Scores = NDArray[np.float64]


class Pair:
    """Both networks in one process."""

    def __init__(self, package: ModelPackage, net: FloatNet, surroundings: Surroundings) -> None:
        self.package, self.net, self.surroundings = package, net, surroundings
        self._session, _ = open_session(package, EVALUATION_ORDER)

    def hear(self, pcm: FloatArray) -> tuple[NDArray[np.int64], tuple[Scores, Scores]]:
        """End of each step, and its smoothed scores in float and in int8."""
        heard = features(detector_branch(pcm))
        logits = forward(self.net, heard)["logit"][:, 0].astype(np.float64)
        stored = StreamingModel(self.package, self._session).process(heard, len(pcm))
        raw = 1.0 / (1.0 + np.exp(-logits)), np.array([score.value for score in stored])
        ends = np.arange(1, len(logits) + 1) * STEP_SAMPLES + FRAME_SAMPLES - HOP_SAMPLES
        one, two = (smooth(scores, self.package.smoothing_steps) for scores in raw)
        return ends.astype(np.int64), (one, two)

    def word(self, job: tuple[int, Part]) -> tuple[float, float] | None:
        """Highest scores of one recording of the word; None where it cannot be used."""
        number, part = job
        try:
            staged = stage_utterance(part, self.surroundings, np.random.default_rng([5, number]))
        except AudioError:
            return None
        ends, (one, two) = self.hear(staged.pcm)
        onset = staged.onset_sample
        return peak_after(ends, one, onset), peak_after(ends, two, onset)

    def reel(self, job: tuple[int, list[Part]]) -> tuple[list[float], list[float], float]:
        """Peaks of both networks on a reel of negatives, and its seconds."""
        number, parts = job
        reel = stage_reel(parts, QUIET, np.random.default_rng([6, number]))
        if not reel.parts:
            return [], [], 0.0
        ends, (one, two) = self.hear(reel.pcm)
        return heights(ends, one, reel), heights(ends, two, reel), reel.seconds


def heights(ends: NDArray[np.int64], smoothed: Scores, reel: Reel) -> list[float]:
    """Peaks of each recording of a reel for itself, as `kwsd.evaluate.judge` counts them."""
    refractory_s = default_config().wake.refractory_s
    pieces = (peaks(at, scores, refractory_s) for at, scores in reel.apart(ends, smoothed))
    return [float(height) for _, found in pieces for height in found]


_pair: Pair | None = None


def _open(folder: Path, weights: Path, surroundings: Surroundings) -> None:
    global _pair
    _pair = Pair(load_package(folder), load_net(weights), surroundings)


def _word(job: tuple[int, Part]) -> tuple[float, float] | None:
    assert _pair is not None
    return _pair.word(job)


def _reel(job: tuple[int, list[Part]]) -> tuple[list[float], list[float], float]:
    assert _pair is not None
    return _pair.reel(job)


def _parts(paths: tuple[Path, ...]) -> list[Part]:
    found: list[Part] = []
    for path in paths:
        try:
            found += parts_of(path)
        except AudioError:
            continue
    return found


def report(
    words: list[tuple[float, float]],
    negatives: list[list[float]],
    hours: float,
    repeats: int = 1,
) -> None:
    """Print misses of both at some rates, and how many stagings only one of them misses."""
    both = np.array(words)
    curves = [Curve(both[:, i], negatives[i], hours) for i in range(2)]
    # What is staged again is no other recording.
    recordings = len(both) / repeats
    print(
        f"{len(both)} stagings of the word, {repeats} of each recording; {hours:.2f} h of negatives"
    )
    for rate in RATES_PER_HOUR:
        points = [curve.at_rate(rate) for curve in curves]
        if points[0] is None or points[1] is None:
            print(f"{rate:4g} FA/h: not resolvable")
            continue
        missed = [both[:, i] < point.threshold for i, point in enumerate(points) if point]
        lost, won = int(np.sum(missed[1] & ~missed[0])), int(np.sum(missed[0] & ~missed[1]))
        # Interval of a difference of paired proportions (Wald, continuity left out).
        share = (lost - won) / len(both)
        apart, differ = (lost - won) / repeats, (lost + won) / repeats
        spread = 1.96 * np.sqrt(max(differ - apart**2 / recordings, 0.0)) / recordings
        print(
            f"{rate:4g} FA/h: float misses {100 * missed[0].mean():.2f} %, int8 "
            f"{100 * missed[1].mean():.2f} %; only int8 misses {lost}, only float {won}: "
            f"{100 * share:+.2f} points [{100 * (share - spread):+.2f}, "
            f"{100 * (share + spread):+.2f}]"
        )
    distance = np.abs(both[:, 0] - both[:, 1])
    print(f"difference of a word's score: median {np.median(distance):.4f}, p99 ", end="")
    print(f"{np.percentile(distance, 99):.4f}, largest {distance.max():.4f}")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--float", dest="weights", type=Path, required=True)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--label", help="word in the index (default: the phrase of the model)")
    parser.add_argument("--positives", type=Path, nargs="+", default=[])
    parser.add_argument("--negatives", type=Path, nargs="+", required=True)
    parser.add_argument("--noise", type=Path, nargs="+")
    parser.add_argument("--snr-db", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    return ended("quantisation", _run, parser.parse_args())


def _run(args: argparse.Namespace) -> None:
    package = load_package(find_package(args.model))
    label = args.label or package.phrase
    chosen = select(args.positives, args.negatives, args.index, label, None)
    noise = NoisePool(find_recordings(args.noise), args.snr_db) if args.noise else None
    started = (package.path, args.weights, Surroundings(noise))
    words = _parts(tuple(p.path for p in chosen.positives)) * args.repeats
    reels = wind_reels(_parts(chosen.negatives))
    with worker_pool(args.workers, _open, started) as pool:
        heard = [w for w in pool.map(_word, enumerate(words), chunksize=8) if w is not None]
        wrong = list(pool.map(_reel, enumerate(reels)))
    if not heard or not any(row[2] for row in wrong):
        raise AudioError(
            "no usable word or no usable negative: name other --positives, --index or --negatives"
        )
    negatives = [[height for row in wrong for height in row[i]] for i in range(2)]
    report(heard, negatives, sum(row[2] for row in wrong) / 3600, args.repeats)


if __name__ == "__main__":
    sys.exit(main())
