"""Features: against librosa, streaming against whole-signal, numerics at the edges."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwsd.dsp import features as f


def noisy_signal(samples: int, seed: int = 0) -> np.ndarray:
    """Noise with a level step of 40 dB and a sweep: something for every band."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(samples) / f.SAMPLE_RATE_HZ
    level = np.where(time_s > time_s[-1] / 2, 0.1, 0.001)
    sweep = np.sin(2 * np.pi * (100 + 3000 * time_s) * time_s)
    return (level * (rng.standard_normal(samples) + sweep)).astype(np.float32)


def test_mel_matrix_is_librosas() -> None:
    expected = librosa.filters.mel(
        sr=f.SAMPLE_RATE_HZ,
        n_fft=f.FFT_SIZE,
        n_mels=f.BANDS,
        fmin=f.LOW_HZ,
        fmax=f.HIGH_HZ,
        htk=True,
        norm=None,
    )
    np.testing.assert_allclose(f.mel_matrix(), expected.T, atol=1e-5)


def test_mel_power_is_librosas() -> None:
    pcm = noisy_signal(16_000)
    # librosa centres the 400-sample window in the 512-point frame: 56 samples on each side.
    aligned = np.concatenate([np.zeros(56, np.float32), pcm, np.zeros(56, np.float32)])
    expected = librosa.feature.melspectrogram(
        y=aligned,
        sr=f.SAMPLE_RATE_HZ,
        n_fft=f.FFT_SIZE,
        hop_length=f.HOP_SAMPLES,
        win_length=f.FRAME_SAMPLES,
        window="hann",
        center=False,
        power=2.0,
        n_mels=f.BANDS,
        fmin=f.LOW_HZ,
        fmax=f.HIGH_HZ,
        htk=True,
        norm=None,
    )
    power = f.mel_power(pcm)
    assert power.shape == (98, 40)
    np.testing.assert_allclose(
        power, expected.T / f.FRAME_SAMPLES + f.POWER_FLOOR, rtol=2e-4, atol=1e-8
    )


def test_pcen_is_librosas() -> None:
    power = f.mel_power(noisy_signal(32_000, seed=3)).astype(np.float64)
    # librosa: (S / (eps + M)^gain + bias)^power - bias^power, smoother with coefficient b and a
    # start of its own, so both begin from the first frame here.
    expected = librosa.pcen(
        power.T,
        sr=f.SAMPLE_RATE_HZ,
        hop_length=f.HOP_SAMPLES,
        gain=f.PCEN_ALPHA,
        bias=f.PCEN_DELTA,
        power=f.PCEN_ROOT,
        b=f.PCEN_SMOOTHING,
        eps=f.PCEN_EPS,
        zi=((1 - f.PCEN_SMOOTHING) * power.T[:, :1]),
    )
    unscaled = (f.pcen(power.astype(np.float32)) - f.PCEN_OFFSET) / f.PCEN_SCALE
    np.testing.assert_allclose(
        unscaled - f.PCEN_DELTA**f.PCEN_ROOT, expected.T, rtol=1e-3, atol=1e-4
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 900), min_size=1, max_size=12))
def test_stream_bits_do_not_depend_on_blocks(sizes: list[int]) -> None:
    pcm = noisy_signal(sum(sizes) + 1, seed=1)[: sum(sizes)]
    whole = f.FeatureStream().process(pcm)
    stream = f.FeatureStream()
    edges = np.cumsum([0, *sizes])
    parts = [stream.process(pcm[a:b]) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_stream_agrees_with_whole_signal() -> None:
    pcm = noisy_signal(48_000, seed=2)
    np.testing.assert_allclose(
        f.FeatureStream().process(pcm), f.features(pcm), rtol=1e-4, atol=1e-5
    )


def test_level_step_is_forgotten() -> None:
    """PCEN brings the same sound at levels 40 dB apart to nearly the same feature."""
    pcm = noisy_signal(64_000, seed=4)
    quiet = f.features(pcm * 0.01)[200:]
    loud = f.features(pcm)[200:]
    assert float(np.mean(np.abs(loud - quiet))) < 0.15


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_too_short_gives_no_frame(samples: int) -> None:
    assert f.features(np.zeros(samples, np.float32)).shape == (0, 40)
    assert f.FeatureStream().process(np.zeros(samples, np.float32)).shape == (0, 40)


def test_silence_and_full_scale_are_finite() -> None:
    square = np.sign(np.sin(np.arange(16_000) / 8)).astype(np.float32)
    for pcm in (np.zeros(16_000, np.float32), square):
        assert np.all(np.isfinite(f.features(pcm)))


def test_reset_is_a_new_stream() -> None:
    pcm = noisy_signal(8_000, seed=5)
    stream = f.FeatureStream()
    stream.process(noisy_signal(5_123, seed=6))
    stream.reset()
    np.testing.assert_array_equal(stream.process(pcm), f.FeatureStream().process(pcm))
