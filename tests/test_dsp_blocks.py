"""Re-blocking and the DC blocker."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from kwsd.dsp.dc_blocker import POLE, DcBlocker
from kwsd.dsp.hop_fifo import HopFifo


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 70), max_size=30), st.integers(1, 32))
def test_fifo_keeps_every_sample_in_order(sizes, length):
    audio = np.arange(2 * sum(sizes), dtype=np.float32).reshape(2, -1)
    fifo, blocks, position = HopFifo(2, length), [], 0
    for size in sizes:
        blocks += fifo.push(audio[:, position : position + size])
        position += size
        assert fifo.held_samples == position % length
    assert all(block.shape == (2, length) for block in blocks)
    joined = np.concatenate([np.zeros((2, 0), np.float32), *blocks], axis=1)
    assert np.array_equal(joined, audio[:, : position // length * length])


def test_fifo_reset_drops_what_is_held():
    fifo = HopFifo(1, 4)
    fifo.push(np.ones((1, 3), np.float32))
    fifo.reset()
    assert fifo.held_samples == 0
    assert fifo.push(np.zeros((1, 4), np.float32))[0].sum() == 0


def test_dc_blocker_is_the_filter_of_its_docstring():
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((2, 20 * 64)).astype(np.float32)
    blocker = DcBlocker(2, 64)
    out = np.concatenate([blocker.process(part) for part in np.split(audio, 20, axis=1)], axis=1)
    # The first sample counts as offset, which is a filter that starts at that level.
    expected = lfilter([1.0, -1.0], [1.0, -POLE], audio - audio[:, :1], axis=1)
    assert np.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 0.05, -0.9])
def test_dc_is_removed_without_a_step(offset):
    blocker = DcBlocker(1, 256)
    out = [blocker.process(np.full((1, 256), offset, np.float32)) for _ in range(10)]
    assert np.abs(np.concatenate(out, axis=1)).max() < 1e-6


def test_dc_blocker_lets_speech_pass_and_stops_rumble():
    time_s = np.arange(32_000) / 16_000
    for frequency_hz, low_db, high_db in ((100.0, -0.3, 0.1), (1000.0, -0.1, 0.1), (2.0, -60, -18)):
        tone = np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)[None]
        blocker = DcBlocker(1, 256)
        out = np.concatenate([blocker.process(p) for p in np.split(tone, 125, axis=1)], axis=1)
        gain_db = 20 * np.log10(out[0, 16_000:].std() / tone[0, 16_000:].std())
        assert low_db <= gain_db <= high_db, frequency_hz


def test_dc_blocker_reset_is_a_new_object():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 1, 64)).astype(np.float32)
    used = DcBlocker(1, 64)
    used.process(first)
    used.reset()
    assert np.array_equal(used.process(second), DcBlocker(1, 64).process(second))
