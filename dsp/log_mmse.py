"""Log-MMSE gain: Y. Ephraim and D. Malah, "Speech enhancement using a minimum mean-square error
log-spectral amplitude estimator", IEEE Trans. ASSP 33 (1985), eq. 20.

The exponential integral comes from polynomials, so that no scipy is imported: M. Abramowitz and
I. Stegun, "Handbook of Mathematical Functions", 5.1.53 (absolute error < 2e-7 up to 1) and 5.1.56
(< 2e-8 above, before the division by x exp x).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SMALLEST_ARGUMENT = 1e-6
LARGEST_ARGUMENT = 80.0

_SERIES = (0.00107857, -0.00976004, 0.05519968, -0.24991055, 0.99999193, -0.57721566)
_ABOVE = (1.0, 8.5733287401, 18.0590169730, 8.6347608925, 0.2677737343)
_BELOW = (1.0, 9.5733223454, 25.6329561486, 21.0996530827, 3.9584969228)


def _polynomial(coefficients: tuple[float, ...], x: FloatArray) -> FloatArray:
    """Horner's scheme, highest power first."""
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total *= x
        total += np.float32(coefficient)
    return total


def exponential_integral(x: FloatArray) -> FloatArray:
    """E1 of positive numbers.

    Parameters
    ----------
    x : ndarray, float32
        Taken as at least 1e-6 and at most 80.

    Returns
    -------
    ndarray, float32, same shape
    """
    x = np.clip(np.asarray(x, np.float32), SMALLEST_ARGUMENT, LARGEST_ARGUMENT)
    small = _polynomial(_SERIES, np.minimum(x, np.float32(1.0))) - np.log(x)
    ratio = _polynomial(_ABOVE, x) / _polynomial(_BELOW, x)
    return np.asarray(np.where(x < 1.0, small, ratio * np.exp(-x) / x), dtype=np.float32)


def log_mmse_gain(prior: FloatArray, posterior: FloatArray) -> FloatArray:
    """Gain, at most 1, for prior and posterior signal-to-noise ratios (power, float32)."""
    wiener = prior / (np.float32(1.0) + prior)
    gain = wiener * np.exp(np.float32(0.5) * exponential_integral(wiener * posterior))
    return np.asarray(np.minimum(gain, 1.0), dtype=np.float32)
