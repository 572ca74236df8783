"""int8 against mixed precision: the same network, exported twice, over the same recordings.

    python -m benchmarks.precision MODEL --index DATA/index.csv --split dev --negatives DIR ...

The package's weights and ranges are read back from its network, so nothing but the last layer
differs. Prints misses at some false-accept rates, the largest difference of a smoothed score, size
and time of a step. Thresholds come from the same recordings.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.ending import ended
from kwsd.dsp.features import BANDS
from kwsd.evaluate.jobs import plan
from kwsd.evaluate.judge import Question, judge
from kwsd.evaluate.selection import select
from kwsd.export.constants import Network, read_network
from kwsd.model.find import find_package
from kwsd.model.package import ModelPackage, load_package
from kwsd.model.write import PackageContent, write_package
from kwsd.runtime.litert import LiteRtSession
from kwsd.train.quantise import PRECISIONS, Affine
from kwsd.train.tflite_reader import read_net
from kwsd.train.tflite_writer import write_tflite
from kwsd.train.vectors import record

RATES_PER_HOUR = (1.0, 0.5, 0.1)
TIMED_STEPS = 3000


def ranges_of(network: Network) -> dict[str, Affine]:
    """The ranges of the activations in a file of `kwsmodel train`."""
    return {
        tensor.name: Affine(tensor.scales[0], tensor.zero_points[0])
        for tensor in network.outline.tensors
        if len(tensor.scales) == 1 and len(tensor.zero_points) == 1
    }


def export(package: ModelPackage, precision: str, folder: Path) -> ModelPackage:
    """The package's network in a precision, as a package of its own."""
    ranges = ranges_of(read_network(package.network))
    blob = write_tflite(read_net(package.network), ranges, precision)
    rng = np.random.default_rng(0)
    features = np.abs(rng.standard_normal((200, BANDS))).astype(np.float32)
    recorded = record(blob, features)
    return write_package(
        folder,
        PackageContent(
            name=package.name,
            version=package.version,
            phrase=package.phrase,
            labels=package.labels,
            network=blob,
            inputs=recorded.inputs,
            outputs=recorded.outputs,
            states=recorded.states,
            vectors=recorded.vectors,
            sensitivities={k: replace(v) for k, v in package.sensitivities.items()},
            timing=package.timing,
            licence="Apache-2.0",
            card="benchmark",
            data=(),
            smoothing_steps=package.smoothing_steps,
            tolerance=package.vectors.tolerance,
        ),
    )


def step_us(package: ModelPackage) -> float:
    """Median time of a step, input and output included, in microseconds."""
    session = LiteRtSession(package.network.read_bytes(), package.name)
    inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in session.inputs}
    times = []
    for _ in range(TIMED_STEPS):
        begun = time.perf_counter()
        session.step(inputs)
        times.append(time.perf_counter() - begun)
    session.close()
    return float(1e6 * np.median(times))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--label", help="word in the index (default: the phrase of the model)")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--negatives", type=Path, nargs="+", required=True)
    parser.add_argument("--workers", type=int, default=2)
    return ended("precision", _run, parser.parse_args())


def _run(args: argparse.Namespace) -> None:
    package = load_package(find_package(args.model))
    label = args.label or package.phrase
    selection = select([], args.negatives, args.index, label, args.split)
    with tempfile.TemporaryDirectory() as folder:
        made = {p: export(package, p, Path(folder) / p) for p in PRECISIONS}
        jobs, skipped = plan(selection)
        questions = [Question(one, jobs, skipped) for one in made.values()]
        heard = dict(zip(made, judge(questions, workers=args.workers), strict=True))
        for precision, result in heard.items():
            curve = result.curve
            cells = []
            for rate in RATES_PER_HOUR:
                point = curve.at_rate(rate)
                cells.append("-" if point is None else f"{point.misses} of {point.positives}")
            none = curve.at_none_seen()
            size = made[precision].network.stat().st_size
            rates = ", ".join(f"{rate:g}" for rate in RATES_PER_HOUR)
            print(
                f"{precision:5}  misses at {rates} FA/h: {', '.join(cells)}; none seen: "
                f"{none.misses} (threshold {none.threshold:.4f})  {result.hours:.2f} h"
            )
            print(f"{'':5}  {size} bytes, {step_us(made[precision]):.1f} us a step")
        narrow, wide = (np.array([h.score for h in heard[p].heard]) for p in PRECISIONS)
        print(f"largest difference of a positive's score: {np.abs(narrow - wide).max():.4f}")


if __name__ == "__main__":
    sys.exit(main())
