"""How long a step of the training takes on this machine, drawing of the windows not counted.

    python -m benchmarks.training_step [--phrases 6] [--threads 1] [--repeats 9]

Batches of the recipe's size, of random numbers: labelled words, and the same with a teacher's
lesson. Printed are medians. In a training the windows are drawn beside it, in a process of its own
where there is one (`kwsmodel train --workers`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from kwsd.dsp.features import BANDS
from kwsd.train.augment import WINDOW_FRAMES, Batch
from kwsd.train.fit import FitConfig
from kwsd.train.layers import STRIDE
from kwsd.train.lessons import LessonBatch
from kwsd.train.network import Network, Shape
from kwsd.train.pupil import Pupil
from kwsd.train.teacher import EVERY_FRAMES, SIZE

POSITIVE_WEIGHT = 10.0


def random_batch(rng: np.random.Generator, phrases: int, config: FitConfig) -> Batch:
    """Windows of the recipe's number and size."""
    windows, steps = config.positives * phrases + config.negatives, WINDOW_FRAMES // STRIDE
    features = rng.normal(0, 1, (windows, BANDS, WINDOW_FRAMES)).astype(np.float32)
    label = (rng.random((windows, steps, phrases)) < 0.01).astype(np.float32)
    return Batch(features, label, np.ones_like(label))


def random_lesson(rng: np.random.Generator, config: FitConfig) -> LessonBatch:
    """Windows in which a teacher says something every `EVERY_FRAMES`."""
    steps, every = WINDOW_FRAMES // STRIDE, EVERY_FRAMES // STRIDE
    features = rng.normal(0, 1, (config.taught, BANDS, WINDOW_FRAMES)).astype(np.float32)
    answers = np.full((config.taught, steps, SIZE), np.nan, np.float32)
    answers[:, ::every] = rng.normal(0, 1, answers[:, ::every].shape)
    return LessonBatch(features, answers)


def measured(phrases: int, repeats: int, config: FitConfig) -> dict[str, float]:
    """Median seconds of a step for each kind."""
    rng = np.random.default_rng(1)
    torch.manual_seed(1)
    batch, lesson = random_batch(rng, phrases, config), random_lesson(rng, config)
    pupil = Pupil(Network(Shape(), phrases), POSITIVE_WEIGHT)
    return {
        "words": _median_s(pupil, lambda: pupil.loss(batch, None), repeats),
        "words and teacher": _median_s(pupil, lambda: pupil.loss(batch, lesson), repeats),
    }


def _median_s(learner: torch.nn.Module, loss: Callable[[], torch.Tensor], repeats: int) -> float:
    optimizer = torch.optim.AdamW(learner.parameters(), 4e-3)
    took = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        took.append(time.perf_counter() - started)
    return float(np.median(took[1:]))  # the first one also finds memory and kernels


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, given in (("phrases", 6), ("threads", 1), ("repeats", 9)):
        parser.add_argument(f"--{name}", type=int, default=given)
    args = parser.parse_args()
    for name, value in vars(args).items():
        if value < 1:
            parser.error(f"--{name} {value}: a whole number from 1 is needed")
    torch.set_num_threads(args.threads)
    for kind, seconds in measured(args.phrases, args.repeats, FitConfig()).items():
        print(f"{kind}: {seconds:.3f} s a step")
    return 0


if __name__ == "__main__":
    sys.exit(main())
