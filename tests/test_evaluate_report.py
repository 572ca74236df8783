"""Report: what a result is put into, as text and as numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from kwsd.evaluate.intervals import poisson_upper
from kwsd.evaluate.report import Report, as_dict, speakers, text
from kwsd.evaluate.result import Heard, Peak, Result
from kwsd.model.package import Sensitivity

SAID = (("anna", 0.95), ("anna", 0.6), ("ben", 0.7001), ("", 0.1), ("", 0.9))
HEIGHTS = (0.9, 0.8, 0.7, 0.2)


def heard(speaker: str, score: float, late_ms: float = 100.0) -> Heard:
    rise = ((round(16 * late_ms), score),)
    return Heard(Path("p.wav"), speaker, score, rise, frozenset({"medium"}))


def report(
    positives: tuple[Heard, ...] = tuple(heard(*one) for one in SAID),
    heights: tuple[float, ...] = HEIGHTS,
    hours: float = 2.0,
    skipped: tuple[str, ...] = (),
) -> Report:
    package = SimpleNamespace(
        name="tone", version="0.1.0", sensitivities={"medium": Sensitivity(0.65, 0.5, 0.1)}
    )
    peaks = tuple(Peak(Path(f"n{at}.wav"), 1.0, height) for at, height in enumerate(heights))
    result = Result(positives, peaks, {"medium": 3}, hours, skipped)
    return Report(package, result, "clean", 0)  # type: ignore[arg-type]


def test_speakers_are_compared_at_one_false_accept_an_hour() -> None:
    made = report()
    assert made.speaker_threshold() == ("1 FA/h", 0.7001)
    # What reaches a threshold is accepted, and who is not named is no group.
    assert speakers(made.result.heard, 0.7001) == {"anna": (1, 2), "ben": (0, 1)}
    assert "Speakers, at 1 FA/h (threshold 0.7001)" in text(made)
    few = report(hours=0.5)
    assert few.speaker_threshold() == ("no false accept seen", 0.9001)


def test_a_threshold_that_no_score_reaches_is_called_so() -> None:
    said = text(report(heights=(1.0, 1.0, 1.0, 1.0)))
    rows = [line.split() for line in said.splitlines() if "at most 1 FA/h" in line]
    assert rows[0][4:6] == ["above", "1"]


def test_the_loudest_and_the_first_that_were_left_out_are_shown() -> None:
    many = tuple(0.9 - 0.01 * at for at in range(14))
    said = text(report(heights=many, skipped=tuple(f"s{at}.wav is silent" for at in range(12))))
    assert "n9.wav" in said and "n10.wav" not in said
    assert "12 recordings left out" in said and "and 2 more (see --json)" in said
    assert "s9.wav" in said and "s10.wav" not in said
    ten = text(report(heights=(), skipped=tuple(f"s{at}.wav is silent" for at in range(10))))
    assert "none scored above the floor" in ten
    assert "more (see --json)" not in ten


def test_json_states_latencies_and_bounds() -> None:
    late = tuple(heard("anna", 0.9, late_ms) for late_ms in range(0, 1010, 10))
    made = report((*late, heard("ben", 0.3)))
    written = as_dict(made)
    medium = written["sensitivities"]["medium"]
    names = ("latency_median_ms", "latency_p90_ms", "latency_p95_ms")
    assert [medium[name] for name in names] == [500.0, 900.0, 950.0]
    assert medium["false_accepts"] == 3
    assert medium["rate_upper_bound"] == pytest.approx(poisson_upper(3, 2.0), abs=1e-5)
    assert "latency 500 ms median, 900 ms p90, 950 ms p95" in text(made)
    none = as_dict(report((heard("ben", 0.3),)))["sensitivities"]["medium"]
    assert [none[name] for name in names] == [None] * 3
