"""Distillation: what several trained networks say on average is learnt, by one for each phrase.

What two trainings do not agree on is mostly wrong, so the mean of their logits misses fewer words
than either of them, at twice the size and time. A network that has learnt the words takes over a
part of that from their softened mean in few steps (Hinton, Vinyals, Dean, "Distilling the
knowledge in a neural network", 2015), and stays as small as it was. A package holds a network for
one phrase, so each phrase gets one that has to learn no other.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from kwsd.evaluate.curve import Curve
from kwsd.progress import Report
from kwsd.train.at_once import kept, work_ahead
from kwsd.train.augment import Windows
from kwsd.train.fit import (
    FitConfig,
    average_into,
    draw_batches,
    find_hard_places,
    training_device,
)
from kwsd.train.layers import STRIDE
from kwsd.train.network import Network
from kwsd.train.pools import Pools
from kwsd.train.rehearsal import mean_miss_rate

STEPS_SHARE = 0.1
"""Of the steps of a training: more were no better (docs/benchmarks/training_trials.md)."""

CHOICE_POINTS = (0.5, 1.0)
"""Shares of these steps after which the averaged weights are a candidate."""

RATE = 1e-3
WARM_UP_STEPS = 50
AVERAGE_DECAY = 0.995
TEMPERATURE = 2.0
"""Logits are divided by it: what is nearly a word says more than what surely is none."""

SEEDS_APART = 1000
"""From the seed of one network to that of the next."""


class Mean(nn.Module):
    """Logits averaged over networks.

    Parameters
    ----------
    networks : sequence of Network
        At least one, of any sizes, for the same phrases.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, BANDS, frames] to logits [batch, frames // STRIDE, phrases]."""
        return torch.stack([network(features) for network in self.networks]).mean(0)


def seeds(config: FitConfig, networks: int) -> list[FitConfig]:
    """The same training for each of several networks, with draws of its own."""
    return [replace(config, seed=config.seed + SEEDS_APART * n) for n in range(networks)]


class Parted(nn.Module):
    """Networks of which each answers for one phrase.

    Parameters
    ----------
    networks : mapping of int to Network
        By the number of the phrase.
    phrases : int
        How many there are; the others are answered with zeros.
    """

    def __init__(self, networks: Mapping[int, Network], phrases: int) -> None:
        super().__init__()
        self.numbers = list(networks)
        self.networks = nn.ModuleList(networks.values())
        self.phrases = phrases

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, BANDS, frames] to logits [batch, frames // STRIDE, phrases]."""
        batch, _, frames = features.shape
        said = [features.new_zeros(batch, frames // STRIDE)] * self.phrases
        for number, network in self.by_phrase().items():
            said[number] = network(features)[..., number]
        return torch.stack(said, -1)

    def by_phrase(self) -> dict[int, Network]:
        """The networks by the number of their phrase."""
        return dict(zip(self.numbers, cast(Iterable[Network], self.networks), strict=True))


Judge = Callable[[nn.Module], dict[int, Curve]]
"""Misses against false accepts of each phrase on development recordings."""


@dataclass(frozen=True)
class Learnt:
    """A network for a phrase, and how it does."""

    network: Network
    """With averaged weights, in evaluation mode on the CPU."""

    curve: Curve
    """Of the phrase on development recordings."""

    distilled: bool = False
    """Whether it learnt what several say on average, or is as its own training left it."""

    @property
    def cost(self) -> float:
        """What is to be small: misses averaged over the rates that count."""
        return mean_miss_rate(self.curve)


def as_it_is(network: Network, wanted: Sequence[int], judge: Judge) -> dict[int, Learnt]:
    """One network for all phrases, and how it does."""
    curves = judge(network)
    return {number: Learnt(network, curves[number]) for number in wanted}


def distil(
    networks: Sequence[Network],
    pools: Pools,
    config: FitConfig,
    report: Report,
    judge: Judge,
    phrases: int = 1,
    wanted: Sequence[int] = (0,),
    at_once: int = 1,
) -> dict[int, Learnt]:
    """Let one network for each phrase learn what all say of it on average.

    Parameters
    ----------
    networks : sequence of Network
        Trained, two or more.
    pools : Pools
        What windows are drawn from; their labels are not asked for.
    config : FitConfig
        Of the trainings; a tenth of their steps is made.
    report : callable
        Gets one line now and then.
    judge : callable
        What networks make of development recordings of each phrase that is wanted. The network
        that misses least learns, and it stays as it is for a phrase if learning makes it no better.
    phrases : int
        How many the networks know.
    wanted : sequence of int
        Numbers of the phrases that get a network.
    at_once : int
        Processes that learn, each some of the phrases; they change nothing in the result.

    Returns
    -------
    dict of int to Learnt
        By phrase.
    """
    torch.set_num_threads(1)  # sums of several threads differ from one machine to the next
    device = training_device()
    mean_of_all = Mean([copy.deepcopy(network).to(device) for network in networks]).eval()
    best: dict[int, Learnt] = {}
    for number, network in enumerate(networks, 1):
        offered = as_it_is(network, wanted, judge)
        report(f"network {number}: {_told(one.curve for one in offered.values())}")
        best = _cheaper(offered, best)
    curves = judge(mean_of_all)
    report(f"their mean: {_told(curves[i] for i in wanted)}")
    config = seeds(config, len(networks) + 1)[-1]
    windows = Windows(pools, phrases, config.splice_share, config.varied)
    rng = np.random.default_rng([config.seed, 5])
    windows.hard = find_hard_places(mean_of_all, pools, rng, windows.ripples)
    groups = [wanted[first::at_once] for first in range(min(at_once, len(wanted)))]
    with tempfile.TemporaryDirectory() as folder:
        lessons: dict[str, Callable[[Report], dict[int, Learnt]]] = {}
        for number, group in enumerate(groups, 1):
            some = {i: best[i] for i in group}
            learn = partial(_learn, some, mean_of_all, windows, config, judge, phrases)
            name = f"phrases {', '.join(str(i + 1) for i in group)}"
            lessons[name] = kept(Path(folder) / str(number), learn) if len(groups) > 1 else learn
        work_ahead(lessons, at_once, report)
        learnt: dict[int, Learnt] = {}
        for lesson in lessons.values():
            learnt |= lesson(report)
    return {number: learnt[number] for number in wanted}


def _learn(
    best: Mapping[int, Learnt],
    mean_of_all: Mean,
    windows: Windows,
    config: FitConfig,
    judge: Judge,
    phrases: int,
    report: Report,
) -> dict[int, Learnt]:
    """Some phrases, from windows that are the same for all."""
    device = training_device()
    students = Parted({i: copy.deepcopy(best[i].network) for i in best}, phrases).to(device)
    mean = copy.deepcopy(students).eval()
    optimizer = torch.optim.AdamW(students.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=WARM_UP_STEPS)
    steps = max(1, round(STEPS_SHARE * config.steps))
    choices = {max(1, round(steps * share)) for share in CHOICE_POINTS}
    for step, (words, _) in enumerate(draw_batches(windows, None, config, 0, steps), 1):
        features = torch.as_tensor(words.features).to(device)
        with torch.no_grad():
            said_by_all = mean_of_all(features)
        students.train()
        # A sum over phrases, each of which has weights of its own: none slows the others. Each
        # is computed apart, so that it is the same to the bit whatever is learnt beside it.
        loss = torch.stack(
            [
                functional.binary_cross_entropy_with_logits(
                    student(features)[..., i] / TEMPERATURE,
                    torch.sigmoid(said_by_all[..., i] / TEMPERATURE),
                )
                for i, student in students.by_phrase().items()
            ]
        ).sum()
        loss = loss * TEMPERATURE**2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        average_into(mean, students, AVERAGE_DECAY, step)
        if step in choices:
            offered = _as_they_are(mean, judge)
            told = _told(one.curve for one in offered.values())
            report(f"distillation, step {step} of {steps}: {told}")
            best = _cheaper(offered, best)
    return dict(best)


def _as_they_are(parted: Parted, judge: Judge) -> dict[int, Learnt]:
    """Copies, for the learning goes on."""
    curves = judge(parted)
    return {
        number: Learnt(copy.deepcopy(network).cpu().eval(), curves[number], distilled=True)
        for number, network in parted.by_phrase().items()
    }


def _cheaper(offered: Mapping[int, Learnt], best: Mapping[int, Learnt]) -> dict[int, Learnt]:
    """The better one for each phrase, of equal ones the later."""
    return {
        number: one if one.cost <= best.get(number, one).cost else best[number]
        for number, one in offered.items()
    }


def _told(curves: Iterable[Curve]) -> str:
    costs = [mean_miss_rate(curve) for curve in curves]
    each = ", ".join(f"{cost:.4f}" for cost in costs)
    return f"costs on development recordings {each}; mean {np.mean(costs):.4f}"
