"""Reverberation on mel power: loudness stays, sound decays as a room's does."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("soxr", reason="training needs soxr: pip install 'kwsd[train]'")
pytest.importorskip("pyroomacoustics", reason="training needs pyroomacoustics")

from kwsd.block import SAMPLE_RATE_HZ  # noqa: E402
from kwsd.dsp.features import BANDS, mel_power  # noqa: E402
from kwsd.evaluate.surroundings import convolve  # noqa: E402
from kwsd.train import reverberation  # noqa: E402
from kwsd.train.reverberation import (  # noqa: E402
    STRETCH_FRAMES,
    STRETCHES_AT_ONCE,
    reverberated,
    stream_in_rooms,
)
from kwsd.train.ripples import Ripples  # noqa: E402


@pytest.fixture(scope="module")
def ripples() -> Ripples:
    return Ripples(STRETCH_FRAMES * BANDS)


def test_a_steady_sound_stays_as_loud_and_keeps_its_colour(ripples: Ripples) -> None:
    colour = np.exp(np.linspace(2, -2, BANDS)).astype(np.float32)
    power = np.broadcast_to(colour, (6, 600, BANDS)).copy()
    heard = reverberated(np.random.default_rng(1), power, ripples)
    assert heard.dtype == np.float32 and heard.shape == power.shape
    ratio = heard[:, 200:].mean(axis=1) / colour
    np.testing.assert_allclose(ratio, 1.0, atol=0.12)


def test_sound_decays_with_the_time_that_was_drawn(
    ripples: Ripples, monkeypatch: pytest.MonkeyPatch
) -> None:
    rt60_s = 0.5
    monkeypatch.setattr(reverberation, "RT60_RANGE_S", (rt60_s, rt60_s))
    monkeypatch.setattr(reverberation, "HIGHEST_BAND_SHARE", (0.5, 0.5))
    power = np.full((4, 200, BANDS), 1e-9, np.float32)
    power[:, 100] = 1.0
    heard = 10 * np.log10(reverberated(np.random.default_rng(2), power, ripples))
    # Nothing before the sound; behind it 60 dB in RT60, in the highest band in half of that.
    assert np.all(heard[:, :100] < -85)
    fall_db = (heard[:, 101:111] - heard[:, 121:131]).mean(axis=(0, 1))
    assert fall_db[0] == pytest.approx(60 * 0.2 / rt60_s, abs=4)
    assert fall_db[-1] == pytest.approx(60 * 0.2 / (0.5 * rt60_s), abs=4)


def test_it_is_near_to_what_a_convolution_gives(
    ripples: Ripples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bursts of noise through an exponentially decaying response, and through the filter."""
    rng = np.random.default_rng(3)
    rt60_s, direct_db = 0.4, 0.0
    times_s = np.arange(SAMPLE_RATE_HZ // 2) / SAMPLE_RATE_HZ
    late = rng.standard_normal(len(times_s)) * np.exp(-3 * np.log(10) * times_s / rt60_s)
    response = (late / np.sqrt(np.sum(late**2))).astype(np.float32)
    response[0] += 1.0  # the direct sound, as strong as all that follows
    dry = rng.standard_normal(3 * SAMPLE_RATE_HZ).astype(np.float32) * 0.1
    dry *= np.repeat(rng.random(30) < 0.4, len(dry) // 30)
    monkeypatch.setattr(reverberation, "RT60_RANGE_S", (rt60_s, rt60_s))
    monkeypatch.setattr(reverberation, "DIRECT_RANGE_DB", (direct_db, direct_db))
    monkeypatch.setattr(reverberation, "HIGHEST_BAND_SHARE", (1.0, 1.0))
    wanted = np.log(mel_power(convolve(dry, response / np.sqrt(2.0))) + 1e-6)
    power = mel_power(dry).astype(np.float32)
    found = np.log(reverberated(rng, power[None], ripples)[0] + 1e-6)
    before = np.log(power + 1e-6)
    assert np.abs(found - wanted).mean() < 0.35 * np.abs(before - wanted).mean()
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("frames", [1, STRETCH_FRAMES, STRETCH_FRAMES * STRETCHES_AT_ONCE + 7])
def test_a_stream_keeps_its_length_and_its_places(ripples: Ripples, frames: int) -> None:
    stream = np.full((frames, BANDS), -18, np.float16)
    stream[frames // 2 :] = 0.0
    heard = stream_in_rooms(np.random.default_rng(4), stream, ripples)
    assert heard.shape == stream.shape and heard.dtype == np.float16
    assert np.all(heard[: frames // 2] < -14) and heard[-1].mean() > -1.0
    again = stream_in_rooms(np.random.default_rng(4), stream, ripples)
    np.testing.assert_array_equal(heard, again)


def test_an_empty_stream_stays_empty(ripples: Ripples) -> None:
    stream = np.empty((0, BANDS), np.float16)
    assert len(stream_in_rooms(np.random.default_rng(0), stream, ripples)) == 0
