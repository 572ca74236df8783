"""What the soak benchmark says of a day that was too short, and of a service that stays deaf."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

# Behind the installed package: the benchmarks are not part of it.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.service.soak import growth_text  # noqa: E402
from benchmarks.service.soak_day import Outcome  # noqa: E402
from benchmarks.service.soak_device import Day  # noqa: E402
from benchmarks.service.soak_world import Fault, Kind  # noqa: E402


def day_of(seconds: float, *faults: Fault) -> Day:
    return Day(np.zeros((320, 3), np.float32), faults, seconds, lambda *_: None, lambda: None)


def outcome_of(memory: list[tuple[float, float]]) -> Outcome:
    return Outcome(memory[-1][0], 1.0, 1.0, (), 0.1, 0.0, tuple(memory), {}, 0)


def test_a_service_that_never_hears_again_is_deaf_to_the_end_of_the_day() -> None:
    day = day_of(60.0)
    day.advance(2.0)
    day.heard()
    day.advance(58.0)
    assert day.deafest_s == 2.0
    day.over()
    assert (day.deafest_s, day.deafest_at_s) == (58.0, 60.0)


def test_a_loss_does_not_forgive_what_was_not_heard_before_it() -> None:
    day = day_of(60.0, Fault(30.0, Kind.LOSS, 4.0))
    day.advance(10.0)
    day.heard()
    for _ in range(25):
        day.advance(1.0)
    day.heard()
    day.over()
    # 20 s up to the loss, 1 s behind it; the loss itself is no fault of the service.
    assert (day.deafest_s, day.deafest_at_s) == (20.0, 30.0)


@pytest.mark.parametrize("kind", [Kind.LOSS, Kind.MUTE])
def test_a_day_that_ends_in_a_loss_or_a_mute_counts_none_of_it(kind: Kind) -> None:
    day = day_of(60.0, Fault(40.0, kind, 30.0))
    for _ in range(39):
        day.advance(1.0)
        day.heard()
    for _ in range(21):
        day.advance(1.0)
    day.over()
    assert (day.deafest_s, day.deafest_at_s) == (1.0, 1.0)


def test_growth_is_not_measured_in_a_short_day() -> None:
    memory = [(60.0 * minute, 80.0 + minute / 1440.0) for minute in range(40)]
    short, longer = outcome_of(memory[:19]), outcome_of(memory)
    assert short.growth_mb_a_day() is None
    assert growth_text(short.growth_mb_a_day()).startswith("not measured")
    assert growth_text(longer.growth_mb_a_day()) == "+1.00 MB a day"
