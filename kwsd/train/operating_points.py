"""Thresholds: three sensitivities, each a false-accept rate kept on development recordings.

A rate is kept close by and in rooms: most of what wakes a device falsely is a television or people
at the other end of a room, and a model can be wrong about those far more often.
"""

from __future__ import annotations

from dataclasses import dataclass

from kwsd.evaluate.curve import Curve, Point
from kwsd.model.package import Sensitivity

RATES_PER_HOUR = {"low": 0.1, "medium": 0.5, "high": 1.0}
"""What each sensitivity aims at."""

LOWEST_THRESHOLD = 0.2
HIGHEST_THRESHOLD = 0.98


@dataclass(frozen=True)
class OperatingPoint:
    """What one threshold does."""

    close: Point
    """With everybody close by."""

    far: Point
    """With everybody far away in a room."""


def choose_points(close: Curve, far: Curve) -> dict[str, OperatingPoint]:
    """One point per sensitivity, with no more false accepts than it aims at in either place.

    Where the hours of negatives cannot show a rate, the point at which none was seen is taken with
    a quarter of the way to 1 as a margin: a threshold on the edge of the highest negative seen
    would not hold on the next hour.

    Parameters
    ----------
    close, far : Curve
        Scores of positives and negatives of the development part, in each place.
    """
    points: dict[str, OperatingPoint] = {}
    ceiling = HIGHEST_THRESHOLD
    for name, rate in RATES_PER_HOUR.items():
        highest = max(_threshold(curve, rate) for curve in (close, far))
        ceiling = min(max(highest, LOWEST_THRESHOLD), ceiling)
        threshold = round(ceiling, 4)
        points[name] = OperatingPoint(close.at(threshold), far.at(threshold))
    return points


def sensitivities(points: dict[str, OperatingPoint]) -> dict[str, Sensitivity]:
    """As a package stores them: misses close by, and the rate of the place where it is higher.

    A rate below the aim is stated as the aim, and none below one false accept in all hours.
    """
    return {
        name: Sensitivity(
            threshold=point.close.threshold,
            false_accepts_per_hour=round(
                max(RATES_PER_HOUR[name], *map(_shown, (point.close, point.far))), 4
            ),
            miss_rate=round(point.close.miss_rate, 4),
        )
        for name, point in points.items()
    }


def exceeded(points: dict[str, OperatingPoint]) -> list[str]:
    """Sensitivities whose rate no threshold keeps, or that the hours cannot show."""
    return [
        name
        for name, point in points.items()
        if max(map(_shown, (point.close, point.far))) > RATES_PER_HOUR[name]
    ]


def _shown(point: Point) -> float:
    """The rate that was seen, not finer than the hours allow."""
    return max(point.rate, 1.0 / point.hours)


def _threshold(curve: Curve, rate: float) -> float:
    point = curve.at_rate(rate)
    if point is not None:
        return point.threshold
    edge = curve.at_none_seen().threshold
    return edge + 0.25 * (1.0 - edge)
