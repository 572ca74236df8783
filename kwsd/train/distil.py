"""Distillation: one network learns what several trained ones say on average.

What two trainings do not agree on is mostly wrong, so the mean of their logits misses fewer words
than either of them, at twice the size and time. A network that has learnt the words takes over a
part of that from their softened mean in few steps (Hinton, Vinyals, Dean, "Distilling the
knowledge in a neural network", 2015), and stays as small as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

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


def distil(
    networks: Sequence[Network],
    pools: Pools,
    config: FitConfig,
    report: Report,
    cost: Callable[[nn.Module], float] | None = None,
    phrases: int = 1,
) -> Network:
    """Let one of the networks learn what all say on average.

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
    cost : callable, optional
        What is to be small on development recordings. The network with the lowest learns, and it
        stays as it is if learning makes it no better.
    phrases : int
        How many the networks know.

    Returns
    -------
    Network
        With averaged weights, in evaluation mode on the CPU; without `cost` the last ones, of the
        first network.
    """
    device = training_device()
    mean_of_all = Mean([copy.deepcopy(network).to(device) for network in networks]).eval()
    lowest, chosen = float("inf"), networks[0]
    if cost is not None:
        costs = [cost(network) for network in networks]
        lowest, chosen = min(costs), networks[int(np.argmin(costs))]
        said = ", ".join(f"{one:.4f}" for one in costs)
        report(f"networks: costs {said}; of their mean {cost(mean_of_all):.4f}")
    config = seeds(config, len(networks) + 1)[-1]
    windows = Windows(pools, phrases, config.splice_share, config.varied)
    rng = np.random.default_rng([config.seed, 5])
    windows.hard = find_hard_places(mean_of_all, pools, rng, windows.ripples)
    student = copy.deepcopy(chosen).to(device)
    mean = copy.deepcopy(student).eval()
    optimizer = torch.optim.AdamW(student.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=WARM_UP_STEPS)
    steps = max(1, round(STEPS_SHARE * config.steps))
    choices = {max(1, round(steps * share)) for share in CHOICE_POINTS}
    for step, (words, _) in enumerate(draw_batches(windows, None, config, 0, steps), 1):
        features = torch.as_tensor(words.features).to(device)
        with torch.no_grad():
            asked = torch.sigmoid(mean_of_all(features) / TEMPERATURE)
        student.train()
        said_now = student(features) / TEMPERATURE
        loss = functional.binary_cross_entropy_with_logits(said_now, asked) * TEMPERATURE**2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        average_into(mean, student, AVERAGE_DECAY, step)
        if step in choices and cost is not None:
            now = cost(mean)
            report(
                f"distillation, step {step} of {steps}: cost {now:.4f} on development recordings"
            )
            if now <= lowest:
                lowest, chosen = now, copy.deepcopy(mean)
    return (mean if cost is None else chosen).cpu().eval()
