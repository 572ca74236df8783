"""Minutes of the soak benchmark: the daemon's own loop hears on through every fault."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Behind the installed package: the benchmarks are not part of it.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.service.soak_day import Outcome, run_day  # noqa: E402
from benchmarks.service.soak_words import compare_words  # noqa: E402
from benchmarks.service.soak_world import (  # noqa: E402
    Fault,
    Kind,
    living_room_cycle,
    plan_faults,
)

CYCLE_S = 40.0
CLEAN_S = CYCLE_S
SECONDS = 162.0
FAULTS = [
    Fault(62.0, Kind.XRUN, 0.3),
    Fault(64.0, Kind.CHURN, 0.0),
    Fault(65.0, Kind.ZERO, 12.5),
    Fault(96.0, Kind.RELOAD, 0.0),
    Fault(100.0, Kind.LOSS, 6.0),
    Fault(110.0, Kind.STALL, 1.5),
    Fault(115.0, Kind.DRIFT, 0.0, ppm=250.0),
    Fault(134.2, Kind.XRUN, 0.1),
    Fault(138.0, Kind.MUTE, 2.0),
    Fault(141.0, Kind.CHURN, 0.0),
]


@pytest.fixture(scope="module")
def day() -> Outcome:
    return run_day(living_room_cycle((0.0,), seed=1), FAULTS, SECONDS)


def test_every_kind_of_fault_is_there() -> None:
    assert {fault.kind for fault in FAULTS} == set(Kind)


def test_hears_again_within_five_seconds_of_audio(day: Outcome) -> None:
    assert 0.0 < day.deafest_s <= 5.0


def test_finds_the_words_that_it_found_before_anything_happened(day: Outcome) -> None:
    clean = tuple(at_s for at_s in day.wakes_s if at_s < CLEAN_S)
    assert len(clean) == 2
    words = compare_words(day.wakes_s, clean, CYCLE_S, FAULTS, SECONDS)
    assert words.wanted == 8
    assert words.missed_s == () and words.extra_s == ()
    assert words.excused <= 1  # The one in the middle of an overrun.


def test_says_what_happened(day: Outcome) -> None:
    assert day.counters["overruns"] == 2
    # At the start, after the zeros, the loss, the stall and the mute.
    assert day.counters["openings"] == 5
    assert day.counters["gaps"] >= 6


def test_who_stays_on_the_bus_gets_every_wake(day: Outcome) -> None:
    assert day.wakes_received == len(day.wakes_s) >= 7


def test_a_missed_word_is_not_excused_by_a_fault_far_away() -> None:
    far, near = Fault(30.0, Kind.LOSS, 1.0), Fault(44.0, Kind.LOSS, 1.0)
    words = compare_words((7.3,), (7.3,), 40.0, [far], 80.0)
    assert words.missed_s == (47.3,) and words.excused == 0
    words = compare_words((7.3, 20.0), (7.3,), 40.0, [near], 80.0)
    assert words.missed_s == () and words.excused == 1 and words.extra_s == (20.0,)
    assert compare_words((), (7.3,), 40.0, [Fault(7.0, Kind.CHURN, 0.0)], 40.0).missed_s


def test_the_dice_give_every_kind_in_order_and_apart() -> None:
    faults = plan_faults(3600.0, 20.0, seed=3)
    assert {fault.kind for fault in faults} == set(Kind)
    assert all(a.end_s <= b.at_s for a, b in zip(faults, faults[1:], strict=False))
    assert plan_faults(3600.0, 20.0, seed=3) == faults
