"""The comparison of int8 with float: known scores give known differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soxr", reason="the benchmark stages recordings with soxr")

from benchmarks.quantisation import heights, report  # noqa: E402
from kwsd.config import default_config  # noqa: E402
from kwsd.evaluate.judge import _peaks  # noqa: E402
from kwsd.evaluate.recording import Part  # noqa: E402
from kwsd.evaluate.scoring import Track  # noqa: E402
from kwsd.evaluate.stage import Reel  # noqa: E402


def test_words_that_only_one_network_misses_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Thresholds end up just above 0.5 in float and 0.6 in int8: the highest peaks but one.
    negatives = [[0.9, 0.5], [0.9, 0.6]]
    words = [(0.8, 0.8)] * 96 + [(0.7, 0.55)] * 3 + [(0.4, 0.65)]
    report(words, negatives, 10.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "100 stagings of the word, 1 of each recording; 10.00 h of negatives"
    at_tenth = next(line for line in lines if line.strip().startswith("0.1 FA/h"))
    assert "float misses 1.00 %, int8 3.00 %" in at_tenth
    assert "only int8 misses 3, only float 1: +2.00 points [-1.90, +5.90]" in at_tenth
    assert lines[-1].startswith("difference of a word's score: median 0.0000")


def test_a_rate_that_the_hours_cannot_show_is_not_stated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report([(0.8, 0.8)] * 10, [[0.5], [0.5]], 1.5)
    assert "0.1 FA/h: not resolvable" in capsys.readouterr().out


def test_draws_of_a_recording_are_not_counted_as_recordings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    negatives = [[0.9, 0.5], [0.9, 0.6]]
    words = [(0.8, 0.8)] * 96 + [(0.7, 0.55)] * 3 + [(0.4, 0.65)]
    report(words, negatives, 10.0)
    once = [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()[1:-1]]
    report(words * 3, negatives, 10.0, repeats=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("300 stagings of the word, 3 of each recording")
    assert "only int8 misses 9, only float 3: +2.00 points [-1.90, +5.90]" in lines[-2]
    assert [line.rpartition(": ")[2] for line in lines[1:-1]] == once


def test_a_peak_hides_nothing_in_the_next_recording() -> None:
    ends = np.arange(1, 201, dtype=np.int64) * 320
    smoothed = np.zeros(200)
    # 0.4 s apart, in two recordings.
    smoothed[[90, 110]] = 0.9, 0.7
    parts = (Part(Path("a"), 0.0, 2.0), Part(Path("b"), 0.0, 2.0))
    reel = Reel(np.zeros(64_000, np.float32), None, (0, 32_000), parts, 4.0, ())
    assert heights(ends, smoothed, reel) == [0.9, 0.7]
    track = Track(ends, smoothed, np.zeros(200, np.float32), np.zeros(200))
    ours = [height for _, height in _peaks(track, default_config().wake, reel)]
    assert heights(ends, smoothed, reel) == ours
