"""Voice branch: exponential integral, gain, noise tracker, suppressor."""

import numpy as np
import pytest
from scipy.special import exp1

from kwsd.dsp.kalman import BINS, HOP_SAMPLES
from kwsd.dsp.log_mmse import LARGEST_ARGUMENT, exponential_integral, log_mmse_gain
from kwsd.dsp.noise import NoiseTracker
from kwsd.dsp.suppressor import GAIN_FLOOR_DB, VOICE_DELAY_SAMPLES, Suppressor

RATE_HZ = 16_000


def noise(seconds, seed, level):
    rng = np.random.default_rng(seed)
    samples = int(seconds * RATE_HZ) // HOP_SAMPLES * HOP_SAMPLES
    return (level * rng.standard_normal(samples)).astype(np.float32)


def syllables(seconds, level=0.1):
    """Harmonics of 150 Hz that come and go three times a second."""
    time_s = np.arange(int(seconds * RATE_HZ) // HOP_SAMPLES * HOP_SAMPLES) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * 150 * k * time_s + k * k) / k for k in range(1, 20))
    return (level * tone * (np.sin(2 * np.pi * 3 * time_s) > 0)).astype(np.float32)


def suppress(error, echo=None, reduce_noise=True):
    suppressor = Suppressor()
    echo = np.zeros_like(error) if echo is None else echo
    parts = [
        suppressor.process(error[i : i + HOP_SAMPLES], echo[i : i + HOP_SAMPLES], reduce_noise)
        for i in range(0, len(error), HOP_SAMPLES)
    ]
    return np.concatenate(parts)


def db(audio):
    return 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-15)


def test_exponential_integral_against_scipy():
    x = np.geomspace(1e-6, 70, 5000).astype(np.float32)
    assert np.allclose(exponential_integral(x), exp1(x.astype(np.float64)), rtol=1e-5, atol=1e-6)
    extremes = exponential_integral(np.array([0.0, 1e30, LARGEST_ARGUMENT], np.float32))
    assert np.isfinite(extremes).all()


def test_log_mmse_gain_is_the_papers():
    prior, posterior = np.meshgrid(np.geomspace(1e-3, 1e3, 60), np.geomspace(1e-2, 1e3, 60))
    wiener = prior / (1 + prior)
    expected = np.minimum(wiener * np.exp(0.5 * exp1(wiener * posterior)), 1.0)
    gain = log_mmse_gain(prior.astype(np.float32), posterior.astype(np.float32))
    assert gain.dtype == np.float32
    assert np.allclose(gain, expected, rtol=1e-4)


def track(tracker, audio):
    window = np.hanning(2 * HOP_SAMPLES)
    levels = []
    for start in range(0, len(audio) - 2 * HOP_SAMPLES, HOP_SAMPLES):
        spectrum = np.fft.rfft(window * audio[start : start + 2 * HOP_SAMPLES])
        tracker.update((np.abs(spectrum) ** 2).astype(np.float32))
        levels.append(10 * np.log10(tracker.power.mean() / np.sum(window**2)))
    return np.array(levels)


def test_noise_level_is_found_and_held_through_speech():
    tracker = NoiseTracker(BINS)
    levels = track(tracker, noise(4.0, 0, 1e-3))
    assert levels[-60:].mean() == pytest.approx(-60.0, abs=1.5)
    speech = syllables(4.0) + noise(4.0, 1, 1e-3)
    # Harmonics fill few bins: the median says what the tracker does between them.
    track(tracker, speech)
    median_db = 10 * np.log10(np.median(tracker.power) / np.sum(np.hanning(512) ** 2))
    assert median_db == pytest.approx(-60.0, abs=4.0)


def test_noise_that_grows_is_followed():
    tracker = NoiseTracker(BINS)
    levels = track(tracker, np.concatenate([noise(2.0, 0, 1e-3), noise(4.0, 1, 1e-2)]))
    assert levels[-30:].mean() == pytest.approx(-40.0, abs=2.0)


def test_voice_is_the_delayed_signal_where_there_is_nothing_to_remove():
    speech = syllables(2.0)
    voice = suppress(speech, reduce_noise=False)
    late = slice(RATE_HZ, None)
    delayed = np.concatenate([np.zeros(VOICE_DELAY_SAMPLES, np.float32), speech])[: len(speech)]
    assert db(voice[late] - delayed[late]) < db(delayed[late]) - 40.0


def test_steady_noise_goes_and_speech_stays():
    hiss, speech = noise(6.0, 0, 3e-3), syllables(6.0)
    speech[: 2 * RATE_HZ] = 0.0
    voice = suppress(speech + hiss)
    quiet = slice(RATE_HZ, int(1.9 * RATE_HZ))
    assert GAIN_FLOOR_DB - 1.0 < db(voice[quiet]) - db(hiss[quiet]) < -8.0
    late = slice(4 * RATE_HZ, None)
    delayed = np.concatenate([np.zeros(VOICE_DELAY_SAMPLES, np.float32), speech])[: len(speech)]
    loud, kept = delayed[late], voice[late]
    assert 20 * np.log10(float(loud @ kept) / float(loud @ loud)) > -1.5


def test_residual_echo_goes():
    echo = noise(6.0, 3, 0.1)
    residual = np.float32(0.1) * echo + noise(6.0, 4, 1e-4)
    voice = suppress(residual, echo, reduce_noise=False)
    late = slice(4 * RATE_HZ, None)
    assert db(voice[late]) - db(residual[late]) < -8.0


def test_what_is_left_of_an_echo_does_not_count_as_noise():
    suppressor = Suppressor()
    echo = noise(4.0, 3, 0.1)
    residual = np.float32(0.1) * echo
    for start in range(0, len(echo), HOP_SAMPLES):
        part = slice(start, start + HOP_SAMPLES)
        suppressor.process(residual[part], echo[part], True)
    # White noise of that level has half of the window's length of its power in each bin.
    assert db(residual) - 10 * np.log10(suppressor.noise.power.mean() / HOP_SAMPLES) > 8.0


def test_an_echo_that_is_cancelled_less_well_is_suppressed_again():
    echo = noise(10.0, 3, 0.1)
    share = np.where(np.arange(len(echo)) < 3 * RATE_HZ, 0.03, 0.1).astype(np.float32)
    residual = share * echo
    voice = suppress(residual, echo, reduce_noise=False)
    late = slice(9 * RATE_HZ, None)
    assert db(voice[late]) - db(residual[late]) < -8.0


def test_who_talks_against_an_echo_for_long_is_not_suppressed_with_it():
    echo = noise(12.0, 3, 0.03)
    talker = noise(12.0, 4, 0.1)
    late = slice(11 * RATE_HZ, None)
    for error in (talker, talker * (np.sin(np.arange(len(talker)) / 1500) > 0)):
        voice = suppress(error, echo, reduce_noise=False)
        assert db(voice[late]) - db(error[late]) > -3.0


def test_a_short_word_over_an_echo_is_not_suppressed_with_it():
    echo = noise(4.0, 3, 0.03)
    word = np.zeros_like(echo)
    word[3 * RATE_HZ : 3 * RATE_HZ + 8000] = noise(1.0, 4, 0.1)[:8000]
    voice = suppress(np.float32(0.1) * echo + word, echo, reduce_noise=False)
    during = slice(3 * RATE_HZ + 1000, 3 * RATE_HZ + 8000)
    assert db(voice[during]) - db(word[during]) > -1.0


def test_silence_and_reset():
    assert not suppress(np.zeros(64 * HOP_SAMPLES, np.float32)).any()
    suppressor = Suppressor()
    block = noise(0.1, 5, 0.1)[:HOP_SAMPLES]
    first = [suppressor.process(block, block, True) for _ in range(3)]
    suppressor.reset()
    second = [suppressor.process(block, block, True) for _ in range(3)]
    assert np.array_equal(first, second)
