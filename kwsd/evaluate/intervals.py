"""Confidence intervals for what an evaluation counts: misses and false accepts.

Pure Python, since the counts are small; scipy agrees (tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

_BISECTIONS = 80


def wilson(count: float, total: float, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion.

    Parameters
    ----------
    count, total : float
        Misses and trials; `total` must be positive. Fractions, where a trial is the mean of several
        that are not independent.
    confidence : float
        Two-sided level.

    Returns
    -------
    tuple of float
        Lower and upper end, within 0 to 1.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22,
    1927.
    """
    if not 0 <= count <= total or total == 0:
        raise ValueError(f"{count:g} of {total:g} is not a proportion")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = count / total
    scale = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # The ends are exact where nothing or everything was counted; rounding must not cross them.
    low = 0.0 if count == 0 else max(0.0, centre - half)
    return low, 1.0 if count == total else min(1.0, centre + half)


def poisson_rate(count: int, hours: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of an event rate.

    Parameters
    ----------
    count : int
        Events seen.
    hours : float
        Time watched, above 0.
    confidence : float
        Two-sided level.

    Returns
    -------
    tuple of float
        Lower and upper end in events per hour.

    References
    ----------
    F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28, 1936.
    """
    tail = (1 - confidence) / 2
    return _lower(count, tail) / _checked(count, hours), _upper(count, tail) / hours


def poisson_upper(count: int, hours: float, confidence: float = 0.95) -> float:
    """One-sided upper bound of an event rate, in events per hour; 3.0 / hours for none seen."""
    return _upper(count, 1 - confidence) / _checked(count, hours)


def _checked(count: int, hours: float) -> float:
    if count < 0 or hours <= 0:
        raise ValueError(f"{count} events in {hours} h is not a rate")
    return hours


def _upper(count: int, tail: float) -> float:
    """Mean at which seeing `count` or fewer has the probability `tail`."""
    return _solve(lambda mean: _at_most(count, mean) - tail, count)


def _lower(count: int, tail: float) -> float:
    """Mean at which seeing `count` or more has the probability `tail`."""
    return _solve(lambda mean: tail - (1 - _at_most(count - 1, mean)), count) if count else 0.0


def _at_most(count: int, mean: float) -> float:
    """Probability of `count` or fewer events."""
    if mean == 0:
        return 1.0
    log_mean = math.log(mean)
    terms = (math.exp(k * log_mean - mean - math.lgamma(k + 1)) for k in range(count + 1))
    return min(1.0, math.fsum(terms))


def _solve(falling: Callable[[float], float], count: int) -> float:
    """Root of a falling function of a Poisson mean, near `count`."""
    low, high = 0.0, count + 20.0 + 10.0 * math.sqrt(count + 1.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
