"""Recordings that no memory holds are said before the work; what is joined is held once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kwsd.dsp.features import BANDS
from kwsd.train.listen import join
from kwsd.train.memory import OTHERWISE_MB, machine_mb, needed_mb, tell_of_memory
from kwsd.train.recordings import Recording


def recording(role: str, hours: float) -> Recording:
    return Recording(Path(f"{role}.wav"), role, "a set", "CC0-1.0", 3600.0 * hours)


def test_each_hour_takes_what_is_kept_of_it() -> None:
    frame_mb = BANDS * np.dtype(np.float16).itemsize / 1e6
    one_copy = 100 * 3600 * frame_mb
    assert needed_mb([recording("noise", 1.0)], []) == pytest.approx(one_copy, rel=0.02)
    assert needed_mb([], [recording("noise", 1.0)]) == pytest.approx(2 * one_copy, rel=0.02)
    speech, more = needed_mb([recording("speech", 1.0)], []), needed_mb([], [])
    assert speech > 2 * one_copy
    assert more == 0.0


def test_more_than_the_memory_is_said() -> None:
    train, develop = [recording("speech", 100.0)], [recording("speech", 10.0)]
    wants_mb = needed_mb(train, develop) + OTHERWISE_MB
    lines: list[str] = []
    tell_of_memory(train, develop, wants_mb + 1.0, lines.append)
    assert lines == []
    tell_of_memory(train, develop, 8000.0, lines.append)
    assert lines == [
        f"warning: 110 h of recordings want some {wants_mb / 1e3:.1f} GB of memory and this "
        "machine has 8.0: name fewer negatives, or train on another one"
    ]


def test_a_machine_has_memory() -> None:
    assert 100.0 < machine_mb() < 1e8


def test_joined_parts_are_given_up() -> None:
    parts = [np.full((length, BANDS), length, np.float16) for length in (3, 0, 2)]
    wanted = np.concatenate(parts)
    np.testing.assert_array_equal(join(parts), wanted)
    assert [len(part) for part in parts] == [0, 0, 0]
    assert join([]).shape == (0, BANDS)
