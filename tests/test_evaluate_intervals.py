"""Intervals: textbook values, scipy as the independent check, and what must hold for any count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2

from kwsd.evaluate.intervals import poisson_rate, poisson_upper, wilson


@pytest.mark.parametrize(("count", "total"), [(0, 10), (3, 48), (18, 315), (315, 315), (1, 1)])
def test_wilson_agrees_with_scipy(count, total):
    expected = binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert wilson(count, total) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_within_0_and_1(case):
    count, total = case
    low, high = wilson(count, total)
    assert 0 <= low <= count / total <= high <= 1


@pytest.mark.parametrize(("count", "hours"), [(0, 1.0), (1, 15.1), (7, 2.5), (240, 12.0)])
def test_poisson_agrees_with_chi_square(count, hours):
    low = chi2.ppf(0.025, 2 * count) / 2 / hours if count else 0.0
    high = chi2.ppf(0.975, 2 * count + 2) / 2 / hours
    assert poisson_rate(count, hours) == pytest.approx((low, high), rel=1e-9)


def test_none_seen_is_bounded_by_three_over_the_hours():
    assert poisson_upper(0, 15.1) == pytest.approx(2.9957 / 15.1, rel=1e-4)
    assert poisson_rate(0, 10.0)[0] == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(1, 0),
        lambda: wilson(3, 2),
        lambda: poisson_rate(1, 0.0),
        lambda: poisson_upper(-1, 1.0),
    ],
)
def test_nonsense_is_refused(call):
    with pytest.raises(ValueError):
        call()
