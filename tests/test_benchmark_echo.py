"""How the echo benchmark counts words and joins detectors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.echo.judges import count, hear  # noqa: E402
from benchmarks.echo.processors import kwsd, side_by_side  # noqa: E402
from benchmarks.echo.rooms import RATE_HZ  # noqa: E402


def test_a_detection_counts_for_the_word_that_ended_about_then() -> None:
    ends = (2 * RATE_HZ, 6 * RATE_HZ)
    found = count([int(2.3 * RATE_HZ), 4 * RATE_HZ, int(9.0 * RATE_HZ)], ends)
    assert found.words == (True, False) and found.false_alarms == 2


def test_several_detectors_are_one_listener() -> None:
    def judge(signal: np.ndarray) -> list[int]:
        return np.flatnonzero(signal > 0.5).tolist()

    signals = np.zeros((2, 4 * RATE_HZ), np.float32)
    signals[0, [100, 20_000]] = 1.0
    signals[1, [600, 50_000]] = 1.0
    # 100 and 600 are one hearing of one word.
    assert hear(judge, signals) == [100, 20_000, 50_000]
    assert hear(judge, signals[1]) == [600, 50_000]


def test_front_ends_give_a_row_for_each_detector() -> None:
    rng = np.random.default_rng(4)
    reference = 0.1 * rng.standard_normal(2 * RATE_HZ).astype(np.float32)
    mics = np.stack([0.5 * reference, 0.4 * reference])
    rows = kwsd(2, ("detector", "voice", "residual"))(mics, reference)
    assert rows.shape == (3, 2 * RATE_HZ)
    np.testing.assert_array_equal(kwsd(2)(mics, reference), rows[0])
    both = side_by_side(lambda m, r: m[0], lambda m, r: r)(mics, reference)
    np.testing.assert_array_equal(both, np.stack([mics[0], reference]))
