"""Pre-roll: what is fetched is what was heard, wherever the ring wraps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.dsp.frontend_frame import BranchDelays
from kwsd.errors import UsageError
from kwsd.preroll import LONGEST_FETCH_SAMPLES, NAMED_WAKES, PreRoll

DELAY = 256


def ramp(start: int, count: int) -> np.ndarray:
    return ((np.arange(start, start + count) % 20_011) / 32_767.0).astype(np.float32)


def fed(preroll: PreRoll, start: int, count: int) -> None:
    """A detector position `start` brings the voice branch of DELAY samples before."""
    delays = BranchDelays(voice_samples=DELAY)
    frame = SimpleNamespace(start_sample=start, voice=ramp(start - DELAY, count), delays=delays)
    preroll.frame(frame)  # type: ignore[arg-type]


@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=12),
    st.integers(0, 20_000),
)
def test_an_excerpt_is_the_voice_branch_at_its_position(sizes: list[int], asked: int) -> None:
    preroll = PreRoll(0.5)
    position = DELAY
    for size in sizes:
        fed(preroll, position, size)
        position += size
    excerpt = preroll.fetch(None, asked)
    end = position - DELAY
    assert excerpt.next_sample == min(end, excerpt.first_sample + LONGEST_FETCH_SAMPLES)
    assert excerpt.first_sample == min(max(asked, 0, end - 8000), end)
    assert excerpt.lost_samples == max(0, excerpt.first_sample - asked)
    got = np.frombuffer(excerpt.pcm, "<i2")
    np.testing.assert_array_equal(
        got, np.rint(ramp(excerpt.first_sample, len(got)) * 32767.0).astype("<i2")
    )


def test_fetching_on_gives_every_sample_once() -> None:
    preroll = PreRoll(5.0)
    preroll.name("a", 1000)
    fed(preroll, DELAY, 60_000)
    first = preroll.fetch("a", None)
    assert first.first_sample == 1000 and len(first.pcm) == 2 * LONGEST_FETCH_SAMPLES
    second = preroll.fetch(None, first.next_sample)
    fed(preroll, DELAY + 60_000, 480)
    third = preroll.fetch(None, second.next_sample)
    assert len(third.pcm) == 960
    assert first.next_sample + len(second.pcm) // 2 == third.first_sample


def test_what_is_before_a_gap_is_not_joined_to_what_is_behind() -> None:
    preroll = PreRoll(1.0)
    fed(preroll, DELAY, 4000)
    fed(preroll, 10_000, 1000)
    excerpt = preroll.fetch(None, 0)
    assert excerpt.first_sample == 10_000 - DELAY
    assert excerpt.lost_samples == 10_000 - DELAY


def test_unknown_and_forgotten_wakes() -> None:
    preroll = PreRoll(1.0)
    with pytest.raises(UsageError, match="from_sample"):
        preroll.fetch("nobody", None)
    for number in range(NAMED_WAKES + 1):
        preroll.name(str(number), 0)
    with pytest.raises(UsageError, match="'0' is not known"):
        preroll.fetch("0", None)
    preroll.fetch("1", None)


def test_loud_samples_are_limited() -> None:
    preroll = PreRoll(0.1)
    voice = np.array([2.0, -2.0], np.float32)
    frame = SimpleNamespace(start_sample=0, voice=voice, delays=BranchDelays())
    preroll.frame(frame)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.frombuffer(preroll.fetch(None, 0).pcm, "<i2"), [32767, -32768])


def test_the_shortest_that_may_be_asked_for_is_a_sample() -> None:
    preroll = PreRoll(1e-5)
    fed(preroll, 0, 480)
    excerpt = preroll.fetch(None, 0)
    assert excerpt.next_sample - excerpt.first_sample == 1
