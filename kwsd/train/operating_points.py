"""Thresholds: three sensitivities, each a stated false-accept rate on development recordings."""

from __future__ import annotations

from kwsd.evaluate.curve import Curve, Point
from kwsd.model.package import Sensitivity

RATES_PER_HOUR = {"low": 0.1, "medium": 0.5, "high": 1.0}
"""What each sensitivity aims at."""

LOWEST_THRESHOLD = 0.2
HIGHEST_THRESHOLD = 0.98


def choose_points(curve: Curve) -> dict[str, Point]:
    """One point per sensitivity.

    Where the hours of negatives cannot show a rate, the point at which none was seen is taken with
    a quarter of the way to 1 as a margin: a threshold on the edge of the highest negative seen
    would not hold on the next hour.

    Parameters
    ----------
    curve : Curve
        Scores of positives and negatives of the development part.
    """
    points: dict[str, Point] = {}
    ceiling = HIGHEST_THRESHOLD
    for name, rate in RATES_PER_HOUR.items():
        point = curve.at_rate(rate)
        if point is None:
            edge = curve.at_none_seen().threshold
            point = curve.at(edge + 0.25 * (1.0 - edge))
        threshold = min(max(point.threshold, LOWEST_THRESHOLD), ceiling)
        ceiling = threshold
        points[name] = curve.at(round(threshold, 4))
    return points


def sensitivities(points: dict[str, Point]) -> dict[str, Sensitivity]:
    """As a package stores them; a rate of 0 seen is stated as the aim, not as 0."""
    return {
        name: Sensitivity(
            threshold=point.threshold,
            false_accepts_per_hour=round(max(point.rate, RATES_PER_HOUR[name]), 4),
            miss_rate=round(point.miss_rate, 4),
        )
        for name, point in points.items()
    }
