"""Delay estimation between reference and microphone, and the line that applies it."""

import numpy as np
import pytest

from kwsd.dsp.delay import MARGIN_SAMPLES, USABLE_SAMPLES, DelayLine, DelayTracker
from kwsd.dsp.kalman import HOP_SAMPLES

RATE_HZ = 16_000


def played(seconds, seed=0):
    """Noise with the level of speech: syllables of random loudness, coloured."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(int(seconds * RATE_HZ))
    coloured = np.convolve(white, 0.9 ** np.arange(60), "same")
    syllables = np.repeat(10 ** rng.uniform(-2.5, 0.0, len(white) // 3200 + 1), 3200)
    return (0.03 * coloured * syllables[: len(white)]).astype(np.float32)


def heard(reference, delay_ms, seed=1, noise=1e-4):
    """The reference through a decaying random room, later by `delay_ms`."""
    rng = np.random.default_rng(seed)
    room = rng.standard_normal(3200) * 10 ** (-3 * np.arange(3200) / 4800)
    room[0] = 4.0
    size = 1 << int(np.ceil(np.log2(len(reference) + len(room))))
    echo = np.fft.irfft(np.fft.rfft(reference, size) * np.fft.rfft(0.2 * room, size), size)
    delay = int(delay_ms * 16)
    mic = np.concatenate([np.zeros(delay), echo])[: len(reference)]
    return (mic + noise * rng.standard_normal(len(mic))).astype(np.float32)


def track(tracker, mic, reference):
    changes = 0
    for start in range(0, len(mic) - HOP_SAMPLES + 1, HOP_SAMPLES):
        block = slice(start, start + HOP_SAMPLES)
        changes += tracker.push(mic[block], reference[block])
    return changes


@pytest.mark.parametrize("delay_ms", [0, 60, 250, 450])
def test_delay_is_found(delay_ms):
    reference = played(4.0)
    tracker = DelayTracker(500)
    changes = track(tracker, heard(reference, delay_ms), reference)
    assert tracker.delay_samples / 16 == pytest.approx(delay_ms, abs=3.0)
    assert changes <= 1
    assert tracker.applied_samples % HOP_SAMPLES == 0
    behind = tracker.delay_samples - tracker.applied_samples
    assert 0 <= behind <= USABLE_SAMPLES
    assert tracker.applied_samples == 0 or behind >= MARGIN_SAMPLES


def test_delay_is_followed_when_it_jumps():
    reference = played(10.0)
    mic = heard(reference, 40)
    mic[80_000:] = heard(reference, 330)[80_000:]
    tracker = DelayTracker(500)
    track(tracker, mic, reference)
    assert tracker.delay_samples / 16 == pytest.approx(330, abs=3.0)


def test_a_talker_does_not_move_the_delay():
    reference = played(8.0)
    mic = heard(reference, 250)
    talker = played(8.0, seed=9)
    talker[:48_000] = 0.0
    tracker = DelayTracker(500)
    assert track(tracker, mic + 3.0 * talker, reference) == 1
    assert tracker.delay_samples / 16 == pytest.approx(250, abs=3.0)


def test_nothing_is_found_where_nothing_is_heard():
    reference = played(4.0)
    for mic in (np.zeros_like(reference), played(4.0, seed=5)):
        tracker = DelayTracker(500)
        assert track(tracker, mic, reference) == 0
        assert tracker.delay_samples is None
    tracker = DelayTracker(500)
    track(tracker, played(4.0), np.zeros_like(reference))
    assert tracker.delay_samples is None


def test_short_search_stays_short():
    reference = played(4.0)
    tracker = DelayTracker(100)
    track(tracker, heard(reference, 250), reference)
    assert tracker.delay_samples is None or tracker.delay_samples <= 1600


def test_reset_forgets_but_keeps_what_it_is_told_to_keep():
    reference = played(4.0)
    tracker = DelayTracker(500)
    track(tracker, heard(reference, 250), reference)
    applied = tracker.applied_samples
    assert applied > 0
    tracker.reset(applied)
    assert tracker.delay_samples is None
    assert tracker.applied_samples == applied
    tracker.reset()
    assert tracker.applied_samples == 0


@pytest.mark.parametrize("delay_blocks", [0, 1, 7])
def test_line_delays_and_remembers(delay_blocks):
    audio = np.random.default_rng(2).standard_normal((2, 30 * HOP_SAMPLES)).astype(np.float32)
    blocks = np.split(audio, 30, axis=1)
    line = DelayLine(2, 8 * HOP_SAMPLES, 4)
    delay = delay_blocks * HOP_SAMPLES
    for index, block in enumerate(blocks):
        out = line.push(block, delay)
        expected = blocks[index - delay_blocks] if index >= delay_blocks else 0 * block
        assert np.array_equal(out, expected)
    history = line.history(delay)
    assert len(history) == 4
    for age, block in zip(range(4, 0, -1), history, strict=True):
        assert np.array_equal(block, blocks[29 - delay_blocks - age])
    line.reset()
    assert not line.push(0 * blocks[0], delay).any()


def test_line_gives_its_oldest_block_for_one_that_it_has_not():
    line = DelayLine(1, 2 * HOP_SAMPLES, 1)
    for number in range(1, 9):
        given = line.push(np.full((1, HOP_SAMPLES), number, np.float32), 100 * HOP_SAMPLES)
    assert (given == 5.0).all()
    assert (line.history(-9 * HOP_SAMPLES)[0] == 8.0).all()


def test_a_tone_is_not_broad_and_speech_is():
    tone = np.sin(np.arange(3 * RATE_HZ) / 5).astype(np.float32)
    for reference, broad in ((tone, False), (played(3.0), True)):
        tracker = DelayTracker(500)
        track(tracker, heard(reference, 60), reference)
        assert tracker.broad is broad


def test_estimates_that_hear_nothing_are_counted():
    reference = played(6.0)
    tracker = DelayTracker(500)
    track(tracker, heard(reference, 60), reference)
    assert tracker.unheard_estimates == 0
    track(tracker, played(6.0, seed=5), reference)
    assert tracker.unheard_estimates > 8


def test_an_echo_that_may_be_the_rest_of_an_earlier_sound_is_not_heard():
    reference = played(4.0)
    tracker = DelayTracker(500)
    track(tracker, heard(reference, 0), reference)
    assert tracker.confident and tracker.unheard_estimates == tracker.estimates > 8


@pytest.mark.parametrize(("share", "found_ms"), [(0.5, 60), (0.8, 20)])
def test_the_direct_sound_is_the_first_that_is_nearly_as_clear_as_any(share, found_ms):
    reference = played(4.0)
    mic = 1e-4 * np.random.default_rng(4).standard_normal(len(reference))
    for delay_ms, gain in ((20, share), (60, 1.0)):
        mic[16 * delay_ms :] += 0.2 * gain * reference[: -16 * delay_ms]
    tracker = DelayTracker(500)
    track(tracker, mic.astype(np.float32), reference)
    assert tracker.delay_samples / 16 == pytest.approx(found_ms, abs=3.0)
