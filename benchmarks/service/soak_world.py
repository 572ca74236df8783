"""What a device in a simulated day hears, and what goes wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import soundfile as sf

from kwsd.block import SAMPLE_RATE_HZ, FloatArray

SAMPLE = Path(__file__).resolve().parents[2] / "samples/living_room.flac"
QUIET_S = 20.0
NOISE_DBFS = -60.0


class Kind(StrEnum):
    """What can go wrong or be asked for."""

    XRUN = "xrun"
    """Samples are lost inside the device; it says so."""

    LOSS = "device loss"
    """The device is gone, and cannot be opened until it is back."""

    STALL = "stall"
    """The device delivers nothing any more, without an error, until it is opened again."""

    ZERO = "zero input"
    """All channels are zero."""

    DRIFT = "clock drift"
    """From here on the device is faster or slower than the system clock."""

    RELOAD = "reload"
    """The configuration is read again."""

    MUTE = "mute"
    """Closed on request, and opened again."""

    CHURN = "subscriber churn"
    """Subscribers come and go."""


HURTS = frozenset({Kind.XRUN, Kind.LOSS, Kind.STALL, Kind.ZERO, Kind.RELOAD, Kind.MUTE})
"""A word close behind these may be missed."""

_WEIGHTS = {
    Kind.XRUN: (8, (0.02, 0.5)),
    Kind.LOSS: (2, (0.2, 60.0)),
    Kind.STALL: (1, (1.0, 5.0)),
    Kind.ZERO: (1, (1.0, 30.0)),
    Kind.DRIFT: (1, (0.0, 0.0)),
    Kind.RELOAD: (2, (0.0, 0.0)),
    Kind.MUTE: (1, (0.5, 10.0)),
    Kind.CHURN: (10, (0.0, 0.0)),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them."""

    at_s: float
    """Seconds of audio since the start."""

    kind: Kind
    seconds: float
    """How long it lasts."""

    ppm: float = 0.0
    """Of the clock, for `Kind.DRIFT`."""

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.at_s + self.seconds


def plan_faults(seconds: float, mean_gap_s: float, seed: int) -> list[Fault]:
    """Faults over a time, in order and not at the same time.

    Parameters
    ----------
    seconds : float
        Length of the audio.
    mean_gap_s : float
        Between the end of one and the start of the next; exponential.
    seed : int
        Of the dice.
    """
    rng = np.random.default_rng(seed)
    kinds = list(_WEIGHTS)
    weights = np.array([_WEIGHTS[kind][0] for kind in kinds], float)
    faults: list[Fault] = []
    at_s = 15.0
    # Every kind once, whatever the dice say; then at random.
    first = [kinds[index] for index in rng.permutation(len(kinds))]
    while True:
        at_s += float(rng.exponential(mean_gap_s))
        kind = first.pop() if first else kinds[rng.choice(len(kinds), p=weights / weights.sum())]
        low, high = _WEIGHTS[kind][1]
        length_s = float(np.exp(rng.uniform(np.log(low), np.log(high)))) if high else 0.0
        if at_s + length_s > seconds - 5.0:
            return faults
        ppm = float(rng.uniform(-300.0, 300.0)) if kind is Kind.DRIFT else 0.0
        faults.append(Fault(at_s, kind, length_s, ppm))
        at_s += length_s


def living_room_cycle(gains_db: tuple[float, ...], seed: int, odd_samples: int = 0) -> FloatArray:
    """The sample at several levels with quiet noise between, float32 [samples, 3]; it repeats.

    Parameters
    ----------
    gains_db : tuple of float
        Level of each time that it is played.
    seed : int
        Of the noise.
    odd_samples : int
        Added to the end, so that the words of each cycle lie elsewhere on the grid of blocks.
    """
    once, rate_hz = sf.read(SAMPLE, dtype="float32")
    if rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"{SAMPLE} is at {rate_hz} Hz, {SAMPLE_RATE_HZ} is needed")
    rng = np.random.default_rng(seed)
    pieces = []
    for gain_db in gains_db:
        noise = rng.standard_normal((round(QUIET_S * SAMPLE_RATE_HZ), 3)) * 10 ** (NOISE_DBFS / 20)
        noise[:, 2] = 0.0
        pieces += [once * np.float32(10 ** (gain_db / 20)), noise]
    pieces.append(np.zeros((odd_samples, 3), np.float32))
    return np.concatenate(pieces).astype(np.float32)
