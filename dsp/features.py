"""Features: 16 kHz audio to level-normalised log-mel-like frames, one every 10 ms.

Place in the chain: behind the detector branch of the front end, before the model. This file is
the definition; training, the numpy path and a native core all follow it.

1. Frames of 400 samples (25 ms), one every 160 (10 ms); frame ``i`` covers samples ``160 i ..
160 i + 399``. Nothing is padded: the first frame is complete after 400 samples. 2. Periodic Hann
window, zero-padded to a 512-point real FFT, power spectrum divided by 400. 3. 40 triangular
bands with corners equally spaced on the HTK mel scale ``2595 log10(1 + f / 700)`` between 80 and
7600 Hz, peak gain 1 (librosa: ``filters.mel(htk=True, norm=None)``), plus a floor of 1e-9 so
that digital silence is finite. 4. Compression and normalisation by per-channel energy
normalisation (PCEN: Wang, Getreuer, Hughes, Lyon, Saurous, "Trainable frontend for robust and
far-field keyword spotting", ICASSP 2017, eq. 1-2) with fixed constants: ``M += s (E - M)``, ``y
= (E / (eps + M)^alpha + delta)^r``, then ``0.5 y - 1.7`` to bring speech near -1..2. ``M``
starts at the first frame.

The stream computes frame by frame, so that its bits do not depend on how the audio was cut; the
whole-signal form used in training computes many frames at once and agrees to float32 rounding.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
FFT_SIZE = 512
BANDS = 40
LOW_HZ = 80.0
HIGH_HZ = 7600.0
POWER_FLOOR = 1e-9

PCEN_SMOOTHING = 0.025
PCEN_ALPHA = 0.95
PCEN_DELTA = 2.0
PCEN_ROOT = 0.5
PCEN_EPS = 1e-8
PCEN_SCALE = 0.5
PCEN_OFFSET = -1.7

_CHUNK_FRAMES = 4096


def hz_to_mel(frequency_hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """HTK mel scale."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(frequency_hz) / 700.0))


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `hz_to_mel`."""
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))


@lru_cache(maxsize=1)
def mel_matrix() -> FloatArray:
    """Triangular mel filters.

    Returns
    -------
    ndarray, float32 [FFT_SIZE // 2 + 1, BANDS]
        Column ``b`` holds the weight of each FFT bin in band ``b``; its peak is 1.
    """
    corners = mel_to_hz(np.linspace(hz_to_mel(LOW_HZ), hz_to_mel(HIGH_HZ), BANDS + 2))
    bins_hz = np.arange(FFT_SIZE // 2 + 1) * (SAMPLE_RATE_HZ / FFT_SIZE)
    rising = (bins_hz - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins_hz) / np.diff(corners)[1:, None]
    return np.ascontiguousarray(np.maximum(0.0, np.minimum(rising, falling)).T, dtype=np.float32)


@lru_cache(maxsize=1)
def window() -> FloatArray:
    """Periodic Hann window, float32 [FRAME_SAMPLES]."""
    phase = 2.0 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def _frame_power(frames: FloatArray) -> FloatArray:
    """Mel power of windowed frames, float32 [..., FRAME_SAMPLES] -> [..., BANDS]."""
    spectrum = np.fft.rfft(frames * window(), FFT_SIZE)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) / np.float32(FRAME_SAMPLES)
    return np.asarray(power @ mel_matrix() + np.float32(POWER_FLOOR), dtype=np.float32)


def mel_power(pcm: FloatArray) -> FloatArray:
    """Mel power of a whole signal.

    Parameters
    ----------
    pcm : ndarray, float32 [samples]
        Audio at 16 kHz, full scale 1.0.

    Returns
    -------
    ndarray, float32 [frames, BANDS]
        ``frames = 1 + (samples - 400) // 160``, or 0 for fewer than 400 samples.
    """
    pcm = np.ascontiguousarray(pcm, dtype=np.float32)
    if pcm.shape[0] < FRAME_SAMPLES:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(pcm, FRAME_SAMPLES)[::HOP_SAMPLES]
    parts = [
        _frame_power(frames[i : i + _CHUNK_FRAMES]) for i in range(0, len(frames), _CHUNK_FRAMES)
    ]
    return np.concatenate(parts)


def compress(power: FloatArray, level: FloatArray) -> FloatArray:
    """PCEN gain and root for given smoothed levels, element by element."""
    gain = np.float32(PCEN_EPS) + level
    ratio = power * gain ** np.float32(-PCEN_ALPHA) + np.float32(PCEN_DELTA)
    return np.asarray(
        np.sqrt(ratio) * np.float32(PCEN_SCALE) + np.float32(PCEN_OFFSET), dtype=np.float32
    )


def pcen(power: FloatArray) -> FloatArray:
    """PCEN of one or many whole signals.

    Parameters
    ----------
    power : ndarray, float32 [..., frames, BANDS]
        Mel power as `mel_power` gives it.

    Returns
    -------
    ndarray, float32, same shape
        Features; the smoother of each signal starts at its first frame.
    """
    level = np.empty_like(power)
    if power.shape[-2] == 0:
        return level
    current = power[..., 0, :].copy()
    smoothing = np.float32(PCEN_SMOOTHING)
    for index in range(power.shape[-2]):
        current = current + smoothing * (power[..., index, :] - current)
        level[..., index, :] = current
    return compress(power, level)


def features(pcm: FloatArray) -> FloatArray:
    """Features of a whole signal, float32 [samples] -> float32 [frames, BANDS]."""
    return pcen(mel_power(pcm))


class FeatureStream:
    """Streaming features: the same frames as `features`, whatever the block sizes.

    Examples
    --------
    >>> stream = FeatureStream()
    >>> stream.process(np.zeros(480, np.float32)).shape
    (1, 40)
    """

    def __init__(self) -> None:
        self._held = np.zeros(0, np.float32)
        self._level: FloatArray | None = None
        self._smoothing = np.float32(PCEN_SMOOTHING)

    def reset(self) -> None:
        """Forget held samples and the level of each band."""
        self._held = np.zeros(0, np.float32)
        self._level = None

    def process(self, pcm: FloatArray) -> FloatArray:
        """Take samples, give the frames that they complete.

        Parameters
        ----------
        pcm : ndarray, float32 [samples]
            Next samples of the detector branch, any number.

        Returns
        -------
        ndarray, float32 [frames, BANDS]
            Zero or more frames.
        """
        held = np.concatenate([self._held, np.asarray(pcm, np.float32)])
        count = max(0, 1 + (len(held) - FRAME_SAMPLES) // HOP_SAMPLES)
        out = np.empty((count, BANDS), np.float32)
        for index in range(count):
            start = index * HOP_SAMPLES
            power = _frame_power(held[start : start + FRAME_SAMPLES])
            if self._level is None:
                self._level = power
            self._level = self._level + self._smoothing * (power - self._level)
            out[index] = compress(power, self._level)
        self._held = held[count * HOP_SAMPLES :].copy()
        return out
