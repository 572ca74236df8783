"""Two channels together: by how much one lags, with which sign, and how sure that is.

Generalised cross-correlation with phase transform (C. Knapp and G. Carter, IEEE Trans. ASSP 24,
1976), averaged over windows of about two seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kwsd.block import FloatArray

CONFIDENT_RATIO = 8.0
"""Peak over root mean square of the correlation: chance alone stays below 5 here."""

EARLY_SHARE = 0.6
"""The first peak with this share of the highest one is the direct sound."""

LOW_HZ, HIGH_HZ = 150.0, 7_000.0
SILENT_POWER = 1e-9
WINDOW_S = 2.0


@dataclass(frozen=True, slots=True)
class Relation:
    """A channel against another."""

    lag_samples: int
    """By how much the second comes later than the first; negative: earlier."""

    sign: int
    """-1 where one is the other's negative."""

    confidence: float
    """Peak over root mean square; `sure` from `CONFIDENT_RATIO` on."""

    @property
    def sure(self) -> bool:
        """Whether the two carry the same sound at all."""
        return self.confidence >= CONFIDENT_RATIO


def relate(first: FloatArray, second: FloatArray, rate_hz: int, longest_ms: float) -> Relation:
    """Lag, sign and confidence of `second` behind `first`.

    Parameters
    ----------
    first, second : ndarray, float32 [frames]
        Of equal length.
    rate_hz : int
        Their sample rate.
    longest_ms : float
        Lags of this size in both directions are looked at, up to half a window.

    Returns
    -------
    Relation
        Confidence 0 where one of them is silent.
    """
    size = 2 ** int(np.ceil(np.log2(WINDOW_S * rate_hz)))
    frequency_hz = np.fft.rfftfreq(size, 1.0 / rate_hz)
    band = (frequency_hz >= LOW_HZ) & (frequency_hz <= min(HIGH_HZ, 0.45 * rate_hz))
    cross = np.zeros(len(frequency_hz), np.complex128)
    taper = np.hanning(size)
    for start in range(0, max(1, len(first) - size // 2), size // 2):
        a, b = (_window(side[start : start + size], size) for side in (first, second))
        if min(float(np.mean(a**2)), float(np.mean(b**2))) < SILENT_POWER:
            continue
        product = np.fft.rfft(taper * b) * np.conj(np.fft.rfft(taper * a))
        cross += band * product / (np.abs(product) + 1e-15)
    correlation = np.fft.irfft(cross)
    rms = float(np.sqrt(np.mean(correlation**2)))
    if rms == 0.0:
        return Relation(0, 1, 0.0)
    longest = min(round(longest_ms * rate_hz / 1000.0), size // 2 - 1)
    near = np.concatenate([correlation[-longest:], correlation[: longest + 1]])
    height = np.abs(near)
    highest = float(height.max())
    # Beside each other a peak's own shoulders are as high: the top of the first hill counts.
    at = int(np.argmax(height >= EARLY_SHARE * highest))
    at += int(np.argmax(height[at : at + 4]))
    return Relation(at - longest, 1 if near[at] >= 0 else -1, highest / rms)


def _window(part: FloatArray, size: int) -> np.ndarray:
    wide = part.astype(np.float64)
    wide = wide - wide.mean()
    return np.pad(wide, (0, size - len(wide)))
