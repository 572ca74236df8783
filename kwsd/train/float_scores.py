"""What a float network makes of long streams: scores, their peaks, and misses on the rehearsal."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kwsd.dsp.features import BANDS, pcen
from kwsd.evaluate.curve import Curve
from kwsd.train.layers import STRIDE
from kwsd.train.listen import LogPower
from kwsd.train.rehearsal import Rehearsal, mean_miss_rate

FloatArray = NDArray[np.float32]

SMOOTHING_STEPS = 2
"""More gave no fewer misses and came 20 ms a step later (docs/benchmarks/models.md)."""

PEAKS_APART_STEPS = 100
"""2 s. The daemon wakes again after 1.5: stated rates are counted so, by `kwsd.evaluate`. Here they
only choose among networks."""

SOFTNESS = 4.0
"""Curves distinguish scores by 0.0001; a network that has been trained long has logits above 9."""


def score_stream(
    network: nn.Module,
    frames: LogPower,
    chunk: int = 3000,
    context: int = 400,
    softness: float = 1.0,
) -> FloatArray:
    """Probability of every phrase at every step of a long stream, float32 [steps, phrases].

    Logits are divided by `softness` first: the order of scores stays, and none saturates. The
    stream is cut into chunks that overlap by `context` frames: enough for the network's memory and
    for the level follower to settle.
    """
    starts = list(range(0, len(frames), chunk))
    device = next(network.parameters()).device
    scores = []
    with torch.no_grad():
        for first in range(0, len(starts), 16):
            some = starts[first : first + 16]
            power = np.full((len(some), context + chunk, BANDS), -18.0, np.float32)
            for row, start in enumerate(some):
                piece = frames[max(0, start - context) : start + chunk]
                lead = context - min(start, context)
                power[row, :lead] = piece[0]
                power[row, lead : lead + len(piece)] = piece
            features = pcen(np.exp(power)).transpose(0, 2, 1)
            logits = network(torch.from_numpy(np.ascontiguousarray(features)).to(device))
            scores.append(torch.sigmoid(logits / softness).cpu().numpy()[:, context // STRIDE :])
    steps = np.concatenate(scores)
    return steps.reshape(-1, steps.shape[-1])[: len(frames) // STRIDE]


def smooth(scores: FloatArray) -> FloatArray:
    """Moving average of the decision stage over the first axis."""
    lead = np.zeros((SMOOTHING_STEPS - 1, *scores.shape[1:]), np.float32)
    padded = np.concatenate([lead, scores])
    steps = len(scores)
    total = sum(padded[i : i + steps] for i in range(SMOOTHING_STEPS))
    return np.asarray(total / np.float32(SMOOTHING_STEPS), np.float32)


def peaks(scores: FloatArray) -> list[tuple[float, int]]:
    """(score, step) of the highest scores, at least `PEAKS_APART_STEPS` from each other."""
    free = np.ones(len(scores), bool)
    found = []
    for step in np.argsort(-scores, kind="stable")[:20_000]:
        if free[step] and scores[step] > 0.02:
            found.append((float(scores[step]), int(step)))
            free[max(0, step - PEAKS_APART_STEPS) : step + PEAKS_APART_STEPS] = False
    return found


def development_curves(network: nn.Module, rehearsal: Rehearsal) -> dict[int, Curve]:
    """Misses against false accepts of every phrase, scores softened by `SOFTNESS`."""
    return rehearsal.curves(
        lambda frames: smooth(score_stream(network, frames, softness=SOFTNESS)),
        lambda scores: [height for height, _ in peaks(scores)],
    )


def development_cost(network: nn.Module, rehearsal: Rehearsal) -> float:
    """Mean miss rate over phrases and false-accept rates that count, on development recordings."""
    return float(np.mean([*map(mean_miss_rate, development_curves(network, rehearsal).values())]))


def operating_logits(curve: Curve) -> tuple[float, float]:
    """Logits of the threshold for one false accept an hour, and of the middle positive."""
    point = curve.at_rate(1.0) or curve.at_none_seen()
    softened = np.clip([point.threshold, float(np.median(curve.positives))], 1e-4, 1.0 - 1e-4)
    low, high = SOFTNESS * np.log(softened / (1.0 - softened))
    return float(low), float(high)
