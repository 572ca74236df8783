"""The comparison of int8 with float: known scores give known differences."""

from __future__ import annotations

import pytest

pytest.importorskip("soxr", reason="the benchmark stages recordings with soxr")

from benchmarks.quantisation import report  # noqa: E402


def test_words_that_only_one_network_misses_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Thresholds end up just above 0.5 in float and 0.6 in int8: the highest peaks but one.
    negatives = [[0.9, 0.5], [0.9, 0.6]]
    words = [(0.8, 0.8)] * 96 + [(0.7, 0.55)] * 3 + [(0.4, 0.65)]
    report(words, negatives, 10.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "100 stagings of the word, 10.00 h of negatives"
    at_tenth = next(line for line in lines if line.strip().startswith("0.1 FA/h"))
    assert "float misses 1.00 %, int8 3.00 %" in at_tenth
    assert "only int8 misses 3, only float 1: +2.00 points [-1.90, +5.90]" in at_tenth
    assert lines[-1].startswith("difference of a word's score: median 0.0000")


def test_a_rate_that_the_hours_cannot_show_is_not_stated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report([(0.8, 0.8)] * 10, [[0.5], [0.5]], 1.5)
    assert "0.1 FA/h: not resolvable" in capsys.readouterr().out
