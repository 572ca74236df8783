"""Other voices from one: words keep their place, bands move one way, sounds change balance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.dsp.features import BANDS
from kwsd.train.voices import SOUND_FRAMES, SPREAD, rearticulated, retimed, retracted

LOUD = np.ones((120, BANDS), np.float32)


def drawn(count: int, strength: float = 1.0) -> np.ndarray:
    """What so many articulations do to the log power of an even sound, [count, frames, BANDS]."""
    return np.stack(
        [
            np.log(rearticulated(np.random.default_rng(seed), LOUD, strength))
            for seed in range(count)
        ]
    )


def test_a_retimed_word_keeps_its_place() -> None:
    frames = np.zeros((100, BANDS), np.float32)
    frames[30:80] = 1.0
    lengths = []
    for seed in range(50):
        heard, first, end = retimed(np.random.default_rng(seed), frames, 30, 80, (-0.4, 0.2))
        assert np.all(np.abs(heard[first + 1 : end - 1] - 1.0) < 1e-6)
        assert np.all(heard[: max(0, first - 1)] == 0) and np.all(heard[end + 1 :] == 0)
        lengths.append(end - first)
    assert min(lengths) < 50 < 65 < max(lengths)


@pytest.mark.parametrize(("log_length", "lower"), [(0.2, True), (-0.2, False)])
def test_a_longer_tract_has_lower_formants(log_length: float, lower: bool) -> None:
    frames = np.full((5, BANDS), 1e-3, np.float32)
    frames[:, 20] = 1.0
    heard = retracted(np.random.default_rng(1), frames, (log_length, log_length))
    assert (heard[0].argmax() < 20) == lower


def test_articulation_is_spread_as_stated_and_around_nothing() -> None:
    changes = drawn(400)
    whole, tilt, middle = SPREAD
    places = np.array([0, BANDS // 2 - 1, BANDS - 1])
    ends = np.hypot(np.hypot(whole, tilt), middle)
    stated = np.array([ends, np.hypot(whole, middle), ends])
    # A line joins one draw and the next: between them the spread is less.
    np.testing.assert_allclose(changes.std(axis=(0, 1))[places] / stated, (2 / 3) ** 0.5, atol=0.06)
    assert np.abs(changes.mean(axis=(0, 1))).max() < 0.05


def test_neighbouring_frames_are_the_same_sound_and_distant_ones_are_not() -> None:
    changes = drawn(200)[:, :, 0]
    beside = np.corrcoef(changes[:, 50], changes[:, 51])[0, 1]
    apart = np.corrcoef(changes[:, 50], changes[:, 50 + 3 * SOUND_FRAMES])[0, 1]
    assert beside > 0.9 and abs(apart) < 0.3


def test_strength_multiplies_what_is_drawn() -> None:
    np.testing.assert_allclose(drawn(3, 0.5), 0.5 * drawn(3), atol=1e-5)
    assert not drawn(3, 0.0).any()


@given(st.integers(0, 3 * SOUND_FRAMES), st.integers(0, 1000))
def test_any_number_of_frames_stays_finite(frames: int, seed: int) -> None:
    heard = rearticulated(np.random.default_rng(seed), LOUD[:frames], 1.0)
    assert heard.shape == (frames, BANDS) and heard.dtype == np.float32
    assert np.isfinite(heard).all() and (heard > 0).all()
