"""Thresholds keep their rates close by and far away, and never rise from low to high."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.evaluate.curve import Curve
from kwsd.train.operating_points import (
    HIGHEST_THRESHOLD,
    LOWEST_THRESHOLD,
    RATES_PER_HOUR,
    choose_points,
    exceeded,
    sensitivities,
)

HOURS = 20.0
scores = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60)


def falling(first: float, count: int = 40) -> list[float]:
    return [first - 0.01 * number for number in range(count)]


def test_the_worse_place_chooses() -> None:
    close, far = Curve([0.85], falling(0.7), HOURS), Curve([0.8], falling(0.9), HOURS)
    points = choose_points(close, far)
    # Ten false accepts in twenty hours are allowed: the eleventh highest is not reached.
    assert points["medium"].far.false_accepts == 10
    assert points["medium"].far.threshold == pytest.approx(0.8001)
    assert points["medium"].close.threshold == points["medium"].far.threshold
    assert points["medium"].close.false_accepts == 0
    assert (points["medium"].close.misses, points["medium"].far.misses) == (0, 1)
    stored = sensitivities(points)["medium"]
    assert stored.false_accepts_per_hour == 0.5 and stored.miss_rate == 0.0
    assert choose_points(far, close)["medium"].close == points["medium"].far


def test_hours_that_cannot_show_a_rate_get_a_margin() -> None:
    close, far = Curve([0.9], falling(0.5), 5.0), Curve([0.9], falling(0.6), 5.0)
    low = choose_points(close, far)["low"]
    assert low.far.false_accepts == 0
    assert low.far.threshold == pytest.approx(0.6001 + 0.25 * 0.3999, abs=1e-4)
    # Five hours show nothing finer than one in five.
    assert sensitivities({"low": low})["low"].false_accepts_per_hour == 0.2
    assert exceeded({"low": low}) == ["low"]


def test_a_rate_that_no_threshold_keeps_is_said() -> None:
    saturated = Curve([0.99], [0.99] * 24, HOURS)
    points = choose_points(Curve([0.99], falling(0.5), HOURS), saturated)
    assert exceeded(points) == ["low", "medium", "high"]
    assert sensitivities(points)["high"].false_accepts_per_hour == 1.2
    kept = choose_points(Curve([0.9], falling(0.5), HOURS), Curve([0.9], falling(0.6), HOURS))
    assert exceeded(kept) == []


@given(scores, scores, scores, scores)
def test_rates_are_kept_in_both_places(
    said: list[float], other: list[float], said_far: list[float], other_far: list[float]
) -> None:
    close, far = Curve(said, other, HOURS), Curve(said_far, other_far, HOURS)
    points = choose_points(close, far)
    thresholds = [points[name].close.threshold for name in ("high", "medium", "low")]
    assert thresholds == sorted(thresholds)
    assert LOWEST_THRESHOLD <= thresholds[0] and thresholds[-1] <= HIGHEST_THRESHOLD
    for name, rate in RATES_PER_HOUR.items():
        if points[name].close.threshold < HIGHEST_THRESHOLD:
            assert points[name].close.rate <= rate and points[name].far.rate <= rate
