"""The training loop: mined negatives, averaged weights, checkpoints, all from one seed."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from kwsd.dsp.features import BANDS, pcen
from kwsd.train.augment import Windows
from kwsd.train.layers import STRIDE
from kwsd.train.listen import LogPower
from kwsd.train.network import Network, Shape
from kwsd.train.pools import Pools
from kwsd.train.rehearsal import Rehearsal, mean_miss_rate

FloatArray = NDArray[np.float32]

MINING_POINTS = (0.25, 0.45, 0.65, 0.85)
MINED_PER_KIND = 400
MINED_APART_STEPS = 100
SMOOTHING_STEPS = 2
"""More gave no fewer misses and came 20 ms a step later (docs/benchmarks/models.md)."""

CHOICE_POINTS = (0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the training after which the averaged weights are a candidate."""

POSITIVE_WEIGHT = 4.0
CHECKPOINT_STEPS = 250


@dataclass(frozen=True)
class FitConfig:
    """How long and how hard."""

    steps: int = 3000
    """Batches."""

    positives: int = 16
    """Windows with the word in a batch."""

    negatives: int = 80
    """Windows without it."""

    peak_rate: float = 4e-3
    """Top of the one-cycle learning rate."""

    average_decay: float = 0.995
    """Of the running mean of the weights, which is what is exported."""

    seed: int = 0
    """Initial weights and all draws."""

    splice_share: float = 0.0
    """Share of the negatives that are speech cut up and joined anew."""


def score_stream(
    network: Network, frames: LogPower, chunk: int = 3000, context: int = 400
) -> FloatArray:
    """Probability of every step of a long stream.

    The stream is cut into chunks that overlap by `context` frames: enough for the network's memory
    and for the level follower to settle.
    """
    starts = list(range(0, len(frames), chunk))
    power = np.full((len(starts), context + chunk, BANDS), -18.0, np.float32)
    for row, start in enumerate(starts):
        piece = frames[max(0, start - context) : start + chunk]
        lead = context - min(start, context)
        power[row, :lead] = piece[0]
        power[row, lead : lead + len(piece)] = piece
    scores = []
    with torch.no_grad():
        for first in range(0, len(power), 16):
            features = pcen(np.exp(power[first : first + 16])).transpose(0, 2, 1)
            logits = network(torch.from_numpy(np.ascontiguousarray(features)))
            scores.append(torch.sigmoid(logits).numpy()[:, context // STRIDE :])
    return np.concatenate(scores).ravel()[: len(frames) // STRIDE]


def smooth(scores: FloatArray) -> FloatArray:
    """Moving average of the decision stage."""
    padded = np.pad(scores, (SMOOTHING_STEPS - 1, 0))
    kernel = np.full(SMOOTHING_STEPS, 1.0 / SMOOTHING_STEPS, np.float32)
    return np.convolve(padded, kernel, "valid").astype(np.float32)


def peaks(scores: FloatArray, apart_steps: int = MINED_APART_STEPS) -> list[tuple[float, int]]:
    """(score, step) of the highest scores, at least `apart_steps` from each other."""
    free = np.ones(len(scores), bool)
    found = []
    for step in np.argsort(-scores, kind="stable")[:20_000]:
        if free[step] and scores[step] > 0.02:
            found.append((float(scores[step]), int(step)))
            free[max(0, step - apart_steps) : step + apart_steps] = False
    return found


def _mine(network: Network, pools: Pools) -> list[tuple[str, int]]:
    """Where in the negatives the network hears the word."""
    network.eval()
    hard = []
    for kind, stream in pools.negatives.items():
        if len(stream) > 1000:
            found = peaks(smooth(score_stream(network, stream)))[:MINED_PER_KIND]
            hard += [(kind, step * STRIDE) for _, step in found]
    return hard


def _average_into(mean: Network, network: Network, decay: float) -> None:
    """Running mean of weights and of normalisation statistics."""
    with torch.no_grad():
        current = network.state_dict()
        for name, value in mean.state_dict().items():
            if value.dtype.is_floating_point:
                value.mul_(decay).add_(current[name], alpha=1.0 - decay)
            else:
                value.copy_(current[name])


def _loss(network: Network, windows: Windows, config: FitConfig) -> torch.Tensor:
    batch = windows.batch(config.positives, config.negatives)
    logits = network(torch.from_numpy(batch.features))
    losses = functional.binary_cross_entropy_with_logits(
        logits,
        torch.from_numpy(batch.label),
        reduction="none",
        pos_weight=torch.tensor(POSITIVE_WEIGHT),
    )
    weight = torch.from_numpy(batch.weight)
    return (losses * weight).sum() / weight.sum()


def fit(
    pools: Pools,
    config: FitConfig,
    checkpoint: Path,
    report: Callable[[str], None],
    shape: Shape | None = None,
    cost: Callable[[Network], float] | None = None,
) -> Network:
    """Train a network; goes on from `checkpoint` if that belongs to the same configuration.

    Parameters
    ----------
    pools : Pools
        Data.
    config : FitConfig
        Length and seed.
    checkpoint : Path
        Written every few hundred steps, removed by the caller.
    report : callable
        Gets one line now and then.
    shape : Shape, optional
        Size of the network.
    cost : callable, optional
        What is to be small on development recordings; asked at `CHOICE_POINTS` of the training.

    Returns
    -------
    Network
        With averaged weights, in evaluation mode: the cheapest of those asked for, of equal ones
        the last; without `cost` the last.
    """
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    shape = shape or Shape()
    network = Network(shape)
    mean = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), config.peak_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.peak_rate, total_steps=config.steps, pct_start=0.1
    )
    rng = np.random.default_rng([config.seed, 2])
    windows = Windows(pools, rng, config.splice_share)
    first, lowest = 0, float("inf")
    chosen = copy.deepcopy(mean)
    identity = repr((config, shape))
    if checkpoint.is_file():
        stored = torch.load(checkpoint, weights_only=True)
        if stored["identity"] == identity:
            network.load_state_dict(stored["network"])
            mean.load_state_dict(stored["mean"])
            chosen.load_state_dict(stored["chosen"])
            lowest = float(stored["lowest"])
            optimizer.load_state_dict(stored["optimizer"])
            schedule.load_state_dict(stored["schedule"])
            windows.hard = [(str(kind), int(frame)) for kind, frame in stored["hard"]]
            rng.bit_generator.state = stored["rng"]
            first = int(stored["step"])
            report(f"going on from step {first}")
    mining = {int(config.steps * share) for share in MINING_POINTS}
    choices = {int(config.steps * share) for share in CHOICE_POINTS}
    for step in range(first, config.steps):
        if step in mining:
            windows.hard = _mine(network, pools)
            report(f"step {step}: {len(windows.hard)} hard places")
        network.train()
        loss = _loss(network, windows, config)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        # A short memory at first, so that the mean is not held back by the initial weights.
        _average_into(mean, network, min(config.average_decay, (step + 1) / (step + 10)))
        if (step + 1) % 100 == 0:
            report(f"step {step + 1} of {config.steps}: loss {loss.item():.4f}")
        if step + 1 in choices and cost is not None:
            now = cost(mean.eval())
            report(f"step {step + 1}: cost {now:.4f} on development recordings")
            if now <= lowest:
                lowest = now
                chosen.load_state_dict(mean.state_dict())
        if (step + 1) % CHECKPOINT_STEPS == 0:
            _store(
                checkpoint,
                {
                    "identity": identity,
                    "step": step + 1,
                    "network": network.state_dict(),
                    "mean": mean.state_dict(),
                    "chosen": chosen.state_dict(),
                    "lowest": lowest,
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "hard": windows.hard,
                    "rng": rng.bit_generator.state,
                },
            )
    return (mean if cost is None else chosen).eval()


def development_cost(network: Network, rehearsal: Rehearsal) -> float:
    """Mean miss rate at the false-accept rates that count, on development recordings."""
    return mean_miss_rate(
        rehearsal.curve(
            lambda frames: smooth(score_stream(network, frames)),
            lambda scores: [height for height, _ in peaks(scores)],
        )
    )


def _store(checkpoint: Path, state: dict[str, Any]) -> None:
    partial = checkpoint.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, checkpoint)
