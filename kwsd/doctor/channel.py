"""One channel by itself: level, offset, clipping, noise floor, dead or stuck."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from kwsd.block import FloatArray
from kwsd.dsp.metrics import power_to_db

PIECE_S = 0.05
FLOOR_PERCENTILE = 10.0
"""The level that nine tenths of all pieces of 50 ms exceed."""

CLIP_RUN = 3
"""So many samples in a row at the channel's own extreme are a flat top, at whatever level."""

CLIP_FRACTION = 0.999
CLIP_LEAST_PEAK = 0.1
"""Below -20 dBFS equal neighbours are quantisation."""

FULL_SCALE = 0.9999


class Life(StrEnum):
    """Whether a channel carries anything."""

    LIVE = "live"
    ZERO = "zero"
    """Zeros only: muted, or not connected."""

    STUCK = "stuck"
    """One value other than zero."""


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What one channel shows."""

    life: Life
    level_dbfs: float
    """RMS without the offset."""

    peak_dbfs: float
    floor_dbfs: float
    """Level of the quietest tenth."""

    offset: float
    """Mean, full scale 1.0."""

    clipped_share: float
    """Samples in flat tops over all samples."""


def measure(samples: FloatArray, rate_hz: int) -> ChannelFacts:
    """Facts of one channel.

    Parameters
    ----------
    samples : ndarray, float32 [frames]
        Full scale 1.0; at least one.
    rate_hz : int
        Sample rate.

    Raises
    ------
    ValueError
        No sample.
    """
    if len(samples) == 0:
        raise ValueError("no sample to measure")
    wide = samples.astype(np.float64)
    offset = float(wide.mean())
    if bool(np.all(samples == samples[0])):
        life = Life.ZERO if samples[0] == 0.0 else Life.STUCK
        return ChannelFacts(life, -120.0, power_to_db(offset**2), -120.0, offset, 0.0)
    moving = wide - offset
    piece = min(len(moving), max(1, round(PIECE_S * rate_hz)))
    pieces = moving[: len(moving) // piece * piece].reshape(-1, piece)
    powers = np.square(pieces).mean(axis=1)
    return ChannelFacts(
        Life.LIVE,
        power_to_db(float(np.square(moving).mean())),
        power_to_db(float(np.max(np.abs(wide)) ** 2)),
        power_to_db(float(np.percentile(powers, FLOOR_PERCENTILE))),
        offset,
        _clipped(wide) / len(wide),
    )


def _clipped(samples: np.ndarray) -> int:
    """Samples in flat tops, at full scale or below."""
    count = 0
    for side in (samples, -samples):
        peak = float(side.max())
        if peak < CLIP_LEAST_PEAK:
            continue
        at_top = side >= (CLIP_FRACTION * peak if peak < FULL_SCALE else FULL_SCALE)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], at_top.astype(np.int8), [0]])))
        runs = edges[1::2] - edges[::2]
        count += int(runs[runs >= CLIP_RUN].sum())
    return count
