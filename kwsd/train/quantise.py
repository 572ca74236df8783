"""Post-training quantisation: ranges of every activation from real features, int8 everywhere.

Activations are asymmetric int8 per tensor, weights symmetric int8 per output channel, biases
int32 (the TensorFlow Lite 8-bit specification). A state and the activation that it stores share
one scale and zero point by construction, so that states go round without re-scaling.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kwsd.train.layers import STRIDE, FloatNet, forward

FloatArray = NDArray[np.float32]

PERCENTILE = 99.99
"""Share of the values that a range keeps; the rest saturates. 100 would be plain min and max."""

BIAS_LIMIT = 2.0**30

PRECISIONS = ("int8", "mixed")
"""What the exporter writes; mixed has the last layer and its output in int16."""

LOWEST_LOGIT = -6.0
PROBABILITY_SCALE = 1.0 / 256.0
PROBABILITY_ZERO = -128


@dataclass(frozen=True)
class Affine:
    """``real = scale * (stored - zero_point)``."""

    scale: float
    """Step, > 0."""

    zero_point: int
    """Stored value of real zero, -128..127."""

    def quantise(self, real: FloatArray) -> NDArray[np.int8]:
        """Real to int8, round half to even, saturating."""
        stored = np.rint(real / self.scale) + self.zero_point
        return np.asarray(np.clip(stored, -128, 127), dtype=np.int8)


def affine(low: float, high: float) -> Affine:
    """Affine map of a range, widened to hold zero exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max((high - low) / 255.0, 1e-8)))
    return Affine(scale, int(np.clip(round(-128.0 - low / scale), -128, 127)))


def wide_affine(narrow: Affine) -> Affine:
    """int16 map of the range of an int8 one: symmetric, as TFLite wants it."""
    largest = max(abs(-128 - narrow.zero_point), abs(127 - narrow.zero_point)) * narrow.scale
    return Affine(float(np.float32(largest / 32767.0)), 0)


def calibrate(
    net: FloatNet, signals: Iterable[FloatArray], percentile: float = PERCENTILE
) -> dict[str, Affine]:
    """Ranges of every activation.

    Parameters
    ----------
    net : FloatNet
        The network.
    signals : iterable of ndarray, float32 [frames, bands]
        Feature streams like those that the model will see.
    percentile : float
        Each signal's extreme is this percentile; the widest over all signals counts.

    Returns
    -------
    dict of Affine
        By activation name as in `forward`, and ``prob``.

    Raises
    ------
    ValueError
        No signal, or something in one is not finite.
    """
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for signal in signals:
        if len(signal) < STRIDE:
            continue
        if not np.isfinite(signal).all():
            raise ValueError("calibration: a signal is not finite; look at its audio")
        for name, values in forward(net, signal).items():
            if not np.isfinite(values).all():
                raise ValueError(f"calibration: {name} is not finite; look at the weights")
            bottom, top = np.percentile(values, [100.0 - percentile, percentile])
            low[name] = min(low.get(name, 0.0), float(bottom))
            high[name] = max(high.get(name, 0.0), float(top))
    if not low:
        raise ValueError("calibration needs at least one signal of two frames or more")
    # What is surely not the word needs no steps: the probability is the same.
    low["logit"] = max(low["logit"], LOWEST_LOGIT)
    ranges = {name: affine(low[name], high[name]) for name in low}
    ranges["prob"] = Affine(PROBABILITY_SCALE, PROBABILITY_ZERO)
    return ranges


@dataclass(frozen=True)
class IntWeights:
    """Weights of one layer as they are stored."""

    values: NDArray[np.int8]
    """int8, in the layout of the operator."""

    scale: NDArray[np.float32]
    """float32 [channels] or [1]."""

    bias: NDArray[np.int32] | NDArray[np.int64]
    """int32 [channels]; int64 behind int16 activations."""

    bias_scale: NDArray[np.float32]
    """float32, input scale times weight scale."""

    axis: int
    """Dimension of the output channels."""


def quantise_weights(
    weights: FloatArray,
    bias: FloatArray,
    source: Affine,
    axis: int,
    per_channel: bool = True,
    bias_bits: int = 32,
) -> IntWeights:
    """Symmetric int8 weights and the int32 or int64 bias that goes with them."""
    other = tuple(i for i in range(weights.ndim) if i != axis)
    top = np.abs(weights).max(axis=other if per_channel else None)
    # A channel that is all but zero must not make its bias overflow.
    least = (np.abs(bias) if per_channel else np.abs(bias).max()) / (source.scale * BIAS_LIMIT)
    scale = np.maximum(np.maximum(np.atleast_1d(top), 1e-9) / 127.0, least).astype(np.float32)
    shape = [1] * weights.ndim
    if per_channel:
        shape[axis] = -1
    values = np.clip(np.rint(weights / scale.reshape(shape)), -127, 127).astype(np.int8)
    bias_scale = scale.astype(np.float64) * source.scale
    return IntWeights(
        values,
        scale,
        np.rint(bias / bias_scale).astype(np.int32 if bias_bits == 32 else np.int64),
        bias_scale.astype(np.float32),
        axis,
    )
