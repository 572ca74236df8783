"""The training loop: words and a teacher, mined negatives, averaged weights, from one seed."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from kwsd.progress import Report
from kwsd.train.augment import KIND_SHARES, ROOM_SHARE, Batch, HardPlace, Windows
from kwsd.train.float_scores import peaks, score_stream, smooth
from kwsd.train.layers import STRIDE, FloatNet, net_digest
from kwsd.train.lessons import LessonBatch, LessonWindows
from kwsd.train.network import Network, Shape, shape_of, start_from
from kwsd.train.pools import Pools
from kwsd.train.pupil import RANKING_WEIGHT, Pupil
from kwsd.train.ranking import SOON_STEPS
from kwsd.train.reverberation import stream_in_rooms
from kwsd.train.ripples import Ripples
from kwsd.train.stored import read_stored
from kwsd.train.teacher import Lesson
from kwsd.train.work_file import work_file

MINING_POINTS = (0.25, 0.45, 0.65, 0.85)
MINED_PER_KIND = 400
CHOICE_POINTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the training after which the averaged weights are a candidate."""

POSITIVE_BALANCE = 0.8
"""Weight of all windows with a phrase against that of all others."""

WARM_UP_SHARE = 0.1
CHECKPOINT_STEPS = 250

TEACHER_SHARE = 0.6
"""Of the steps in which the teacher is listened to. Behind them words alone are learnt: they are
what is asked in the end, and they suffer as long as both are
(docs/benchmarks/training_trials.md)."""


@dataclass(frozen=True)
class FitConfig:
    """How long and how hard."""

    steps: int = 3000
    """Batches."""

    positives: int = 12
    """Windows with each phrase in a batch."""

    negatives: int = 100
    """Windows with none."""

    rate: float = 4e-3
    """Learning rate behind the warm-up. It stays: the running mean of the weights generalises
    better than what a falling rate ends in (docs/benchmarks/training_trials.md)."""

    average_decay: float = 0.998
    """Of that running mean, which is what is exported."""

    seed: int = 0
    """Initial weights and all draws."""

    splice_share: float = 0.0
    """Share of the negatives that are speech cut up and joined anew."""

    varied: bool = False
    """Voices of the words differ more: fewer people are missed who say a word that nobody recorded,
    and more who say one that somebody did (docs/benchmarks/training_trials.md)."""

    taught: int = 40
    """Windows of a batch in which the teacher is listened to, if there is one."""

    loaders: int = 0
    """Processes that draw windows beside the training; they change nothing in the result."""


class _Batches(Dataset[tuple[Batch, LessonBatch | None]]):
    """The batch of a step depends on the seed and the step alone."""

    def __init__(self, windows: Windows, lessons: LessonWindows | None, config: FitConfig) -> None:
        self._windows, self._lessons, self._config = windows, lessons, config

    def __getitem__(self, step: int) -> tuple[Batch, LessonBatch | None]:
        config = self._config
        rng = np.random.default_rng([config.seed, 2, step])
        words = self._windows.batch(rng, config.positives, config.negatives)
        return words, self._lessons.batch(rng, config.taught) if self._lessons else None


def draw_batches(
    windows: Windows, lessons: LessonWindows | None, config: FitConfig, first: int, last: int
) -> Iterator[Any]:
    """Batches of some steps as tensors, drawn ahead in other processes if there are any."""
    ahead: dict[str, Any] = {}
    if config.loaders:
        ahead = {"prefetch_factor": 4, "multiprocessing_context": "fork"}
    return iter(
        DataLoader(
            _Batches(windows, lessons, config),
            batch_size=None,
            sampler=range(first, last),
            num_workers=config.loaders,
            **ahead,
        )
    )


def find_hard_places(
    network: nn.Module, pools: Pools, rng: np.random.Generator, ripples: Ripples
) -> list[HardPlace]:
    """Where in the negatives, as they are and in rooms, a network hears a phrase."""
    network.eval()
    hard = []
    for kind, stream in pools.negatives.items():
        # Room tone may still hold a trace of the word that it surrounded: it is no negative.
        if kind in KIND_SHARES and len(stream) > 1000:
            places = ((False, stream), (True, stream_in_rooms(rng, stream, ripples)))
            for roomy, heard in places:
                for scores in smooth(score_stream(network, heard)).T:
                    found = peaks(scores)[:MINED_PER_KIND]
                    hard += [HardPlace(kind, step * STRIDE, roomy) for _, step in found]
    return hard


def training_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def average_into(mean: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Running mean of weights and of normalisation statistics, behind step 1, 2, ...

    A short memory at first, so that the mean is not held back by the initial weights.
    """
    decay = min(decay, step / (step + 9))
    with torch.no_grad():
        current = network.state_dict()
        for name, value in mean.state_dict().items():
            if value.dtype.is_floating_point:
                value.mul_(decay).add_(current[name], alpha=1.0 - decay)
            else:
                value.copy_(current[name])


def fit(
    pools: Pools,
    config: FitConfig,
    checkpoint: Path,
    report: Report,
    shape: Shape | None = None,
    cost: Callable[[Network], float] | None = None,
    phrases: int = 1,
    lessons: Sequence[Lesson] = (),
    start: FloatNet | None = None,
) -> Network:
    """Train a network; goes on from `checkpoint` if that belongs to the same configuration.

    Parameters
    ----------
    pools : Pools
        Data.
    config : FitConfig
        Length and seed.
    checkpoint : Path
        Written every few hundred steps and at the end, removed by the caller.
    report : callable
        Gets one line now and then.
    shape : Shape, optional
        Size of the network.
    cost : callable, optional
        What is to be small on development recordings; asked at `CHOICE_POINTS` of the training.
    phrases : int
        How many the pools hold.
    lessons : sequence of Lesson
        What a teacher says of speech; without any, words alone are learnt.
    start : FloatNet, optional
        Network whose layers, all but the last, the training begins with; its shape counts then.

    Returns
    -------
    Network
        With averaged weights, in evaluation mode on the CPU: the cheapest of those asked for, of
        equal ones the last; without `cost` the last.
    """
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    shape = shape_of(start) if start else shape or Shape()
    device = training_device()
    if device.type != "cpu":
        report(f"training on {device}")
    windows = Windows(pools, phrases, config.splice_share, config.varied)
    network = Network(shape, phrases)
    if start:
        rng = np.random.default_rng([config.seed, 6])
        some = windows.batch(rng, config.positives, config.negatives)
        start_from(network, start, torch.as_tensor(some.features))
    network = network.to(device)
    mean = copy.deepcopy(network)
    others = config.negatives + (phrases - 1) * config.positives
    pupil = Pupil(network, POSITIVE_BALANCE * others / config.positives).to(device)
    optimizer = torch.optim.AdamW(pupil.parameters(), config.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, 0.01, total_iters=max(1, int(WARM_UP_SHARE * config.steps))
    )
    first, lowest = 0, float("inf")
    chosen = copy.deepcopy(mean)
    began = net_digest(start) if start else None
    recipe = ROOM_SHARE, RANKING_WEIGHT, SOON_STEPS
    identity = repr((replace(config, loaders=0), shape, phrases, len(lessons), recipe, began))
    stored = read_stored(
        checkpoint, partial(torch.load, map_location=device, weights_only=True), report
    )
    if stored is not None:
        if stored["identity"] == identity:
            pupil.load_state_dict(stored["pupil"])
            mean.load_state_dict(stored["mean"])
            chosen.load_state_dict(stored["chosen"])
            lowest = float(stored["lowest"])
            optimizer.load_state_dict(stored["optimizer"])
            schedule.load_state_dict(stored["schedule"])
            windows.hard = [HardPlace(*place) for place in stored["hard"]]
            first = int(stored["step"])
            if first < config.steps:
                report(f"going on from step {first}")
        else:
            report(f"{checkpoint} is of another training: beginning anew")
    mining = {int(config.steps * share) for share in MINING_POINTS}
    teacher_leaves = int(config.steps * TEACHER_SHARE) if lessons else 0
    teaching = LessonWindows(lessons, windows) if first < teacher_leaves else None
    changes = sorted(mining | {teacher_leaves})
    choices = {int(config.steps * share) for share in CHOICE_POINTS}
    batches: Iterator[Any] = iter(())
    for step in range(first, config.steps):
        if step in mining:
            rng = np.random.default_rng([config.seed, 5, step])
            windows.hard = find_hard_places(network, pools, rng, windows.ripples)
            report(f"step {step}: {len(windows.hard)} hard places")
        if step == first or step in changes:
            # Drawn ahead up to where the hard places change or the teacher leaves.
            last = next((point for point in changes if point > step), config.steps)
            heard = teaching if step < teacher_leaves else None
            batches = draw_batches(windows, heard, config, step, last)
        network.train()
        words, lesson = next(batches)
        loss = pupil.loss(words, lesson)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        average_into(mean, network, config.average_decay, step + 1)
        if (step + 1) % 100 == 0:
            report(f"step {step + 1} of {config.steps}: loss {loss.item():.4f}")
        if step + 1 in choices and cost is not None:
            now = cost(mean.eval())
            report(f"step {step + 1}: cost {now:.4f} on development recordings")
            if now <= lowest:
                lowest = now
                chosen.load_state_dict(mean.state_dict())
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == config.steps:
            _store(
                checkpoint,
                {
                    "identity": identity,
                    "step": step + 1,
                    "pupil": pupil.state_dict(),
                    "mean": mean.state_dict(),
                    "chosen": chosen.state_dict(),
                    "lowest": lowest,
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "hard": [tuple(place) for place in windows.hard],
                },
            )
    return (mean if cost is None else chosen).cpu().eval()


def _store(checkpoint: Path, state: dict[str, Any]) -> None:
    # By way of the memory: torch does not say why it could not write.
    content = io.BytesIO()
    torch.save(state, content)
    with work_file(checkpoint) as place:
        place.write_bytes(content.getvalue())
