"""The linear canceller on its own: convergence, double talk, changes, silence."""

import numpy as np
import pytest

from kwsd.dsp.companions import COMPANIONS, Companions
from kwsd.dsp.kalman import HOP_SAMPLES, KalmanCanceller, ReferenceSpectra

RATE_HZ = 16_000
PARTITIONS = (20,)


def noise(seconds, seed, level=0.1):
    rng = np.random.default_rng(seed)
    samples = int(seconds * RATE_HZ) // HOP_SAMPLES * HOP_SAMPLES
    return (level * rng.standard_normal(samples)).astype(np.float32)


def room(seed, rt60_s=0.3):
    """Exponentially decaying random response with a direct path, unit energy."""
    length = 4000
    decay = 10 ** (-3 * np.arange(length) / RATE_HZ / rt60_s)
    response = np.random.default_rng(seed).standard_normal(length) * decay
    response[:40] = 0.0
    response[40] = 3.0
    return response / np.sqrt((response**2).sum())


def through(audio, response):
    size = 1 << int(np.ceil(np.log2(len(audio) + len(response))))
    out = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(response, size), size)
    return out[: len(audio)].astype(np.float32)


def cancel(mic, reference, canceller=None, partitions=PARTITIONS, companions=None):
    """Residual of a whole signal."""
    canceller = canceller or KalmanCanceller(partitions)
    spectra = ReferenceSpectra(partitions)
    out = np.empty_like(mic)
    for start in range(0, len(mic), HOP_SAMPLES):
        block = slice(start, start + HOP_SAMPLES)
        inputs = reference[None, block]
        if companions is not None:
            inputs = companions.process(reference[block])
        spectra.push(inputs)
        out[block], echo = canceller.process(mic[block], spectra)
        assert np.allclose(out[block] + echo, mic[block], atol=1e-6)
    return out


def db(audio):
    return 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-15)


def test_far_end_alone_is_cancelled():
    reference = noise(6.0, 0)
    mic = through(reference, room(1)) + noise(6.0, 2, level=1e-4)
    residual = cancel(mic, reference)
    late = slice(3 * RATE_HZ, None)
    assert db(mic[late]) - db(residual[late]) > 30.0
    assert np.isfinite(residual).all()


def test_near_end_survives_double_talk():
    reference = noise(8.0, 0)
    echo = through(reference, room(1))
    # A talker as strong as the echo who speaks in syllables, after four seconds.
    near = noise(8.0, 5) * (np.sin(2 * np.pi * 3 * np.arange(len(reference)) / RATE_HZ) > 0)
    near[: 4 * RATE_HZ] = 0.0
    residual = cancel((echo + near).astype(np.float32), reference)
    late = slice(int(4.5 * RATE_HZ), None)
    loud, kept = near[late], residual[late]
    gain = float(loud @ kept) / float(loud @ loud)
    assert 20 * np.log10(gain) > -3.0
    assert db(kept - gain * loud) < db(echo[late]) - 6.0


def test_echo_path_change_is_learnt_anew():
    reference = noise(10.0, 0)
    mic = through(reference, room(1))
    mic[5 * RATE_HZ :] = through(reference, 0.7 * room(3))[5 * RATE_HZ :]
    residual = cancel(mic, reference)
    late = slice(8 * RATE_HZ, None)
    assert db(mic[late]) - db(residual[late]) > 20.0
    change = slice(5 * RATE_HZ, 6 * RATE_HZ)
    assert db(residual[change]) < db(mic[change]) + 1.0


def test_sure_paths_learn_another_room_as_fast_as_new_ones():
    """Without doubt the filter takes the new echo for a loud near end: 3 dB instead of 25."""
    reference = noise(26.0, 0)
    echoes = through(reference, room(1)), np.roll(through(reference, room(2)), 400)
    moved = 20 * RATE_HZ
    mic = np.concatenate([echoes[0][:moved], echoes[1][moved:]]) + noise(26.0, 4, level=1e-4)
    residual = cancel(mic, reference)
    before, after = slice(moved - RATE_HZ, moved), slice(moved + RATE_HZ, moved + 2 * RATE_HZ)
    assert db(mic[before]) - db(residual[before]) > 40.0
    assert db(mic[after]) - db(residual[after]) > 15.0


def test_silent_reference_changes_nothing():
    reference = noise(4.0, 0)
    reference[2 * RATE_HZ // HOP_SAMPLES * HOP_SAMPLES :] = 0.0
    mic = through(reference, room(1)) + noise(4.0, 2, level=1e-3)
    canceller = KalmanCanceller(PARTITIONS)
    cancel(mic[: 40 * HOP_SAMPLES], reference[: 40 * HOP_SAMPLES], canceller)
    path = canceller.path.copy()
    near = noise(2.0, 8)
    residual = cancel(near, np.zeros_like(near), canceller)
    assert np.array_equal(residual, near)
    assert np.array_equal(canceller.path, path)


def test_dead_microphone_gets_no_echo_from_the_estimate():
    reference = noise(4.0, 0)
    mic = through(reference, room(1))
    mic[2 * RATE_HZ // HOP_SAMPLES * HOP_SAMPLES :] = 0.0
    residual = cancel(mic, reference)
    assert not residual[2 * RATE_HZ :].any()


@pytest.mark.parametrize("moved", [-25, -3, 0, 4, 25])
def test_shift_moves_the_path_of_every_channel(moved):
    canceller = KalmanCanceller((20, 6))
    rng = np.random.default_rng(4)
    canceller.path[:] = rng.standard_normal(canceller.path.shape)
    before = canceller.path.copy()
    canceller.shift(moved)
    for start, stop in ((0, 20), (20, 26)):
        for row in range(start, stop):
            source = row - moved
            expected = before[source] if start <= source < stop else 0.0
            assert np.array_equal(canceller.path[row], expected + 0 * before[0])


def test_shift_with_the_reference_keeps_the_cancellation():
    reference = noise(6.0, 0)
    echo = through(reference, room(1, rt60_s=0.15))
    canceller = KalmanCanceller(PARTITIONS)
    delay = 5 * HOP_SAMPLES
    mic = np.concatenate([np.zeros(delay, np.float32), echo[:-delay]])
    cancel(mic, reference, canceller)
    # The reference now comes five blocks later, so that the path is five partitions shorter.
    canceller.shift(-5)
    residual = cancel(echo, reference, canceller)
    assert db(echo[: RATE_HZ // 2]) - db(residual[: RATE_HZ // 2]) > 20.0


def test_spectra_keep_the_newest_first():
    spectra = ReferenceSpectra((3, 2))
    blocks = np.random.default_rng(0).standard_normal((5, 2, HOP_SAMPLES)).astype(np.float32)
    for block in blocks:
        spectra.push(block)
    for channel, rows in enumerate(spectra.rows):
        for age in range(rows.stop - rows.start):
            frame = np.concatenate([blocks[3 - age, channel], blocks[4 - age, channel]])
            assert np.allclose(spectra.spectra[rows.start + age], np.fft.rfft(frame), atol=1e-3)
    assert np.array_equal(spectra.conjugate, np.conj(spectra.spectra))
    spectra.reset()
    assert spectra.silent
    assert not spectra.spectra.any()


def test_companions_cancel_what_the_loudspeaker_distorts():
    rng = np.random.default_rng(0)
    reference = np.clip(noise(10.0, 0, level=0.2), -0.9, 0.9)
    reference *= np.repeat(rng.uniform(0.3, 1.0, len(reference) // HOP_SAMPLES), HOP_SAMPLES)
    reference = reference.astype(np.float32)
    mic = through(np.tanh(4 * reference) / 4, room(1)) + noise(10.0, 2, level=1e-4)
    late = slice(6 * RATE_HZ, None)
    plain = cancel(mic, reference)
    paths = (20, *[6] * COMPANIONS)
    helped = cancel(mic, reference, partitions=paths, companions=Companions(HOP_SAMPLES))
    assert db(helped[late]) < db(plain[late]) - 3.0


def test_companions_follow_the_level():
    reference = noise(4.0, 0)
    quiet, loud = Companions(HOP_SAMPLES), Companions(HOP_SAMPLES)
    for start in range(0, len(reference), HOP_SAMPLES):
        block = reference[start : start + HOP_SAMPLES]
        rows, louder = quiet.process(block), loud.process(np.float32(4.0) * block)
    assert np.array_equal(rows[0], block)
    # Their share of the signal is the same at any volume.
    for row in (1, 2):
        assert db(louder[row]) - db(rows[row]) == pytest.approx(12.0, abs=0.5)
    loud.reset()
    silence = loud.process(np.zeros(HOP_SAMPLES, np.float32))
    assert silence.shape == (1 + COMPANIONS, HOP_SAMPLES)
    assert not silence.any()


@pytest.mark.parametrize("change_db", [20.0, 40.0, -40.0])
def test_a_knob_that_the_reference_does_not_see_is_followed(change_db):
    reference = noise(8.0, 0)
    gain = np.where(np.arange(len(reference)) < 4 * RATE_HZ, 1.0, 10 ** (change_db / 20))
    echo = 0.3 * through(reference, room(1)) * gain / max(gain.max(), 1.0)
    residual = cancel((echo + noise(8.0, 2, level=1e-6)).astype(np.float32), reference)
    soon = slice(int(4.5 * RATE_HZ), 5 * RATE_HZ)
    assert db(echo[soon]) - db(residual[soon]) > 20.0


def test_an_under_run_of_the_reference_teaches_nothing():
    reference = noise(8.0, 0)
    mic = through(reference, room(1)) + noise(8.0, 2, level=1e-5)
    gone = reference.copy()
    gone[4 * RATE_HZ : 4 * RATE_HZ + 12 * HOP_SAMPLES] = 0.0
    residual = cancel(mic, gone)
    behind = slice(4 * RATE_HZ + 34 * HOP_SAMPLES, 4 * RATE_HZ + 44 * HOP_SAMPLES)
    assert db(mic[behind]) - db(residual[behind]) > 44.0


def test_what_is_not_finite_is_forgotten():
    reference = noise(6.0, 0)
    mic = through(reference, room(1)) + noise(6.0, 2, level=1e-4)
    canceller = KalmanCanceller(PARTITIONS)
    cancel(mic, reference, canceller)
    canceller.path[3, 7] = np.nan
    residual = cancel(mic, reference, canceller)
    assert np.isfinite(residual).all()
    late = slice(3 * RATE_HZ, None)
    assert db(mic[late]) - db(residual[late]) > 30.0
