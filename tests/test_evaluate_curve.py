"""Curve: synthetic score streams whose misses and false accepts are known beforehand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.decision import Decision, DecisionConfig
from kwsd.evaluate.curve import (
    LOWEST_PEAK,
    Curve,
    first_crossing,
    peak_after,
    peaks,
    smooth,
    threshold_for,
)
from kwsd.evaluate.intervals import wilson

STEP = 320
SCORES = st.lists(st.integers(0, 1024).map(lambda n: n / 1024), max_size=60)


def stream(seconds, **bumps):
    """A track of 20 ms steps, zero but for bumps `t<seconds>=height` of three steps."""
    ends = np.arange(1, round(seconds * 50) + 1) * STEP
    scores = np.zeros(len(ends))
    for name, height in bumps.items():
        at = round(float(name[1:].replace("_", ".")) * 50)
        scores[at - 1 : at + 2] = height / 2, height, height / 2
    return ends, scores


@given(SCORES, st.integers(1, 6))
def test_smoothing_is_that_of_the_decision(scores, steps):
    decision = Decision(DecisionConfig(1.0, 0.5, 1.0, steps, -90.0, 0.5, 0, 0))
    expected = []
    for index, score in enumerate(scores):
        decision.push((index + 1) * STEP, score, 0.0)
        expected.append(decision.smoothed)
    assert smooth(np.array(scores), steps) == pytest.approx(expected, abs=1e-12)


def test_what_rises_before_the_word_is_no_hit():
    ends, scores = stream(4, t1=0.9, t3=0.6)
    assert peak_after(ends, scores, 2 * 16000) == 0.6
    assert peak_after(ends, scores, 5 * 16000) == 0.0
    assert first_crossing(ends, scores, 2 * 16000, 0.5) == (3 * 50 + 1) * STEP
    assert first_crossing(ends, scores, 2 * 16000, 0.7) is None


def test_peaks_are_a_refractory_time_apart_and_the_highest_wins():
    ends, scores = stream(12, t1=0.5, t2=0.8, t3_5=0.7, t6=0.4, t11=0.3)
    positions, heights = peaks(ends, scores, refractory_s=2.0)
    assert heights.tolist() == [0.8, 0.4, 0.3]
    assert positions[0] == (2 * 50 + 1) * STEP


def test_a_peak_exactly_the_refractory_time_later_counts():
    ends, scores = stream(6, t1=0.8, t3=0.7)
    assert peaks(ends, scores, refractory_s=2.0)[1].tolist() == [0.8, 0.7]


def test_silence_has_no_peaks():
    ends, scores = stream(6)
    assert len(peaks(ends, scores, 1.5)[0]) == 0
    assert len(peaks(ends[:0], scores[:0], 1.5)[0]) == 0


@given(st.lists(st.floats(LOWEST_PEAK, 1.0), max_size=40), st.integers(0, 45))
def test_a_threshold_lets_no_more_through_than_allowed(heights, allowed):
    threshold = threshold_for(np.array(heights), allowed)
    assert sum(height >= threshold for height in heights) <= allowed
    # One step lower would be too low, unless nothing limits it.
    if allowed < len(heights):
        assert sum(height >= threshold - 1.01e-4 for height in heights) > allowed


def test_known_curve():
    curve = Curve([0.2, 0.5, 0.7, 0.9], [0.1, 0.4, 0.6, 0.6, 0.8], hours=4.0)
    point = curve.at(0.55)
    assert (point.misses, point.false_accepts) == (2, 3)
    assert point.miss_rate == 0.5
    assert point.rate == 0.75
    at_one = curve.at_rate(1.0)
    assert at_one is not None
    assert (at_one.misses, at_one.false_accepts) == (0, 4)
    none = curve.at_none_seen()
    assert (none.misses, none.false_accepts, none.threshold) == (3, 0, 0.8001)


def test_draws_narrow_no_interval():
    positives = [0.2] * 3 + [0.9] * 45
    point = Curve(positives * 4, [0.1], hours=1.0, draws=4).at(0.5)
    assert (point.misses, point.positives) == (12, 192)
    assert point.miss_interval == pytest.approx(wilson(3, 48))
    assert point.miss_interval == Curve(positives, [0.1], hours=1.0).at(0.5).miss_interval


def test_a_rate_is_kept_to_where_it_allows_a_fraction_of_a_false_accept():
    point = Curve([0.9], [0.8, 0.7, 0.6, 0.5], hours=2.5).at_rate(1.0)
    assert point is not None
    assert point.false_accepts == 2 and point.rate <= 1.0


def test_what_reaches_a_threshold_is_accepted():
    point = Curve([0.5], [0.5], hours=1.0).at(0.5)
    assert (point.misses, point.false_accepts) == (0, 1)
    ends, scores = stream(2, t1=0.5)
    assert first_crossing(ends, scores, 0, 0.5) == (1 * 50 + 1) * STEP


def test_equal_negatives_are_let_through_together_or_not_at_all():
    point = Curve([0.9], [0.6, 0.6, 0.8], hours=2.0).at_rate(1.0)
    assert point is not None
    assert point.false_accepts == 1


def test_no_rate_is_claimed_that_the_hours_cannot_show():
    curve = Curve([0.9] * 20, [0.3], hours=8.0)
    assert curve.at_rate(0.1) is None
    assert curve.at_rate(0.125) is not None
    claim = curve.at_none_seen().claim
    assert claim == "0 seen in 8.00 h, 95 % upper bound 0.37/h"


def test_a_saturated_negative_costs_every_positive():
    point = Curve([1.0, 0.9], [1.0], hours=1.0).at_none_seen()
    assert point.threshold > 1
    assert point.miss_rate == 1.0


def test_points_run_from_everything_to_nothing_accepted():
    curve = Curve([0.2, 0.5], [0.1, 0.4, 0.6], hours=2.0)
    points = curve.points()
    assert [p.false_accepts for p in points] == [3, 2, 1, 0]
    assert [p.misses for p in points] == [0, 0, 1, 2]


def test_an_empty_curve_is_refused():
    with pytest.raises(ValueError):
        Curve([], [0.1], hours=1.0)
    with pytest.raises(ValueError):
        Curve([0.1], [], hours=0.0)
