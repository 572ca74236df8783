"""Distillation: what several trained networks say on average is learnt, by one for each phrase.

What two trainings do not agree on is mostly wrong, so the mean of their logits misses fewer words
than either of them, at twice the size and time. A network that has learnt the words takes over a
part of that from their softened mean in few steps (Hinton, Vinyals, Dean, "Distilling the
knowledge in a neural network", 2015), and stays as small as it was. A package holds a network for
one phrase, so each phrase gets one that has to learn no other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from kwsd.progress import Report
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


def distil(
    networks: Sequence[Network],
    pools: Pools,
    config: FitConfig,
    report: Report,
    costs: Callable[[nn.Module], dict[int, float]] | None = None,
    phrases: int = 1,
    wanted: Sequence[int] = (0,),
) -> dict[int, Network]:
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
    costs : callable, optional
        What is to be small on development recordings, for each phrase. The network with the lowest
        learns, and it stays as it is for a phrase if learning makes it no better.
    phrases : int
        How many the networks know.
    wanted : sequence of int
        Numbers of the phrases that get a network.

    Returns
    -------
    dict of int to Network
        By phrase, with averaged weights, in evaluation mode on the CPU; without `costs` the last
        ones, of the first network.
    """
    device = training_device()
    mean_of_all = Mean([copy.deepcopy(network).to(device) for network in networks]).eval()
    lowest = dict.fromkeys(wanted, float("inf"))
    chosen = dict.fromkeys(wanted, networks[0])
    if costs is not None:
        for number, network in enumerate(networks, 1):
            now = costs(network)
            report(f"network {number}: {_told(now, wanted)}")
            _keep_cheapest(dict.fromkeys(wanted, network), now, chosen, lowest)
        report(f"their mean: {_told(costs(mean_of_all), wanted)}")
    config = seeds(config, len(networks) + 1)[-1]
    windows = Windows(pools, phrases, config.splice_share, config.varied)
    rng = np.random.default_rng([config.seed, 5])
    windows.hard = find_hard_places(mean_of_all, pools, rng, windows.ripples)
    numbers = torch.as_tensor(wanted, device=device)
    students = Parted({i: copy.deepcopy(chosen[i]) for i in wanted}, phrases).to(device)
    mean = copy.deepcopy(students).eval()
    optimizer = torch.optim.AdamW(students.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=WARM_UP_STEPS)
    steps = max(1, round(STEPS_SHARE * config.steps))
    choices = {max(1, round(steps * share)) for share in CHOICE_POINTS}
    for step, (words, _) in enumerate(draw_batches(windows, None, config, 0, steps), 1):
        features = torch.as_tensor(words.features).to(device)
        with torch.no_grad():
            asked = torch.sigmoid(mean_of_all(features)[..., numbers] / TEMPERATURE)
        students.train()
        said_now = students(features)[..., numbers] / TEMPERATURE
        each = functional.binary_cross_entropy_with_logits(said_now, asked, reduction="none")
        # A sum over phrases, each of which has weights of its own: none slows the others.
        loss = each.mean(dim=(0, 1)).sum() * TEMPERATURE**2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        average_into(mean, students, AVERAGE_DECAY, step)
        if step in choices and costs is not None:
            now = costs(mean)
            report(f"distillation, step {step} of {steps}: {_told(now, wanted)}")
            _keep_cheapest(mean.by_phrase(), now, chosen, lowest)
    if costs is None:
        chosen = mean.by_phrase()
    return {i: copy.deepcopy(network).cpu().eval() for i, network in chosen.items()}


def _keep_cheapest(
    offered: Mapping[int, Network],
    costs: Mapping[int, float],
    chosen: dict[int, Network],
    lowest: dict[int, float],
) -> None:
    for number, network in offered.items():
        if costs[number] <= lowest[number]:
            lowest[number], chosen[number] = costs[number], copy.deepcopy(network)


def _told(costs: Mapping[int, float], wanted: Sequence[int]) -> str:
    each = ", ".join(f"{costs[number]:.4f}" for number in wanted)
    mean = np.mean([costs[number] for number in wanted])
    return f"costs on development recordings {each}; mean {mean:.4f}"
