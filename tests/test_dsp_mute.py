"""A loudspeaker that is muted behind the reference: heard through, and cancelled again after it."""

from __future__ import annotations

import numpy as np
import pytest
from test_dsp_drift import STAGES, echo_of, hear
from test_dsp_kalman import RATE_HZ, cancel, db, noise

BEFORE_S = 8
AFTER_S = 5


def scene(
    mute_s: int,
    volume: float = 0.0,
    after: float = 1.0,
    floor: float = 1e-4,
    before_s: int = BEFORE_S,
) -> tuple[np.ndarray, np.ndarray, slice]:
    """Microphone, reference, and the samples for which the volume is another one."""
    seconds = before_s + mute_s + AFTER_S
    reference = noise(seconds, 0)
    mute = slice(before_s * RATE_HZ, (before_s + mute_s) * RATE_HZ)
    gain = np.ones(len(reference), np.float32)
    gain[mute], gain[mute.stop :] = volume, after
    mic = gain * echo_of(reference, 0.0) + noise(seconds, 2, level=floor)
    return mic, reference, mute


def talk(samples: int) -> np.ndarray:
    """Noise in syllables, with pauses between the words."""
    time_s = np.arange(samples) / RATE_HZ
    spoken = (np.sin(2 * np.pi * 3 * time_s) > 0) & (np.sin(2 * np.pi * 0.3 * time_s) > -0.3)
    return noise(samples / RATE_HZ + 1, 5, level=1.0)[:samples] * spoken


def second(number: int, mute: slice) -> slice:
    """A second after the mute."""
    start = mute.stop + number * RATE_HZ
    return slice(start, start + RATE_HZ)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("mute_s", [2, 10, 30])
def test_an_echo_that_is_back_is_cancelled(stage, mute_s: int) -> None:
    """Before, the filter was sure of no echo and took it for a talker: 0 dB for good."""
    mic, reference, mute = scene(mute_s)
    heard, _ = hear(stage, mic, reference)
    for number, least_db in ((2, 18.0), (3, 25.0)):
        part = second(number, mute)
        assert db(mic[part]) - db(heard[part]) > least_db


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("mute_s", [5, 20])
def test_a_loudspeaker_that_starts_muted_is_cancelled(stage, mute_s: int) -> None:
    """Before, it was not for 20 s after five seconds, and not at all after twenty."""
    mic, reference, mute = scene(mute_s, before_s=0)
    heard, _ = hear(stage, mic, reference)
    part = second(2, mute)
    assert db(mic[part]) - db(heard[part]) > 20.0


@pytest.mark.parametrize("after", [0.1, 0.3])
def test_it_is_cancelled_at_another_volume(after: float) -> None:
    mic, reference, mute = scene(10, after=after)
    part = second(3, mute)
    assert db(mic[part]) - db(cancel(mic, reference, partitions=(24,))[part]) > 20.0


@pytest.mark.parametrize("level", [0.003, 0.01, 0.1, 0.3])
def test_a_talker_in_the_mute_is_left_alone(level: float) -> None:
    """Before, a quiet one was cancelled as an echo for seconds."""
    mic, reference, mute = scene(10)
    mic[mute] += level * talk(10 * RATE_HZ)
    residual = cancel(mic, reference, partitions=(24,))
    # Who talks already when it is muted hides that for half a second.
    alone = slice(mute.start + RATE_HZ, mute.stop)
    assert db(residual[alone] - mic[alone]) < db(mic[alone]) - 40.0
    part = second(3, mute)
    assert db(mic[part]) - db(residual[part]) > 20.0


def test_a_fade_counts_as_a_mute() -> None:
    mic, reference, mute = scene(10)
    fade = np.linspace(1.0, 0.0, RATE_HZ, dtype=np.float32)
    mic[mute.start : mute.start + RATE_HZ] += (
        fade * echo_of(reference, 0.0)[mute.start : mute.start + RATE_HZ]
    )
    part = second(2, mute)
    assert db(mic[part]) - db(cancel(mic, reference, partitions=(24,))[part]) > 20.0


def test_a_low_volume_in_a_noisy_room_is_no_mute() -> None:
    """The echo is as loud as the noise, so nothing shows that the paths are good."""
    mic, reference, low = scene(10, volume=0.1, floor=0.01)
    near = noise(BEFORE_S + 10 + AFTER_S, 2, level=0.01)
    residual = cancel(mic, reference, partitions=(24,))
    late = slice(low.start + 5 * RATE_HZ, low.stop)
    assert db(residual[late] - near[late]) < db(mic[late] - near[late]) - 8.0


def test_a_talker_in_playback_is_no_mute() -> None:
    """However loud: the microphone as it is would be given out with the echo in it."""
    mic, reference, part = scene(10, volume=1.0)
    near = np.zeros_like(mic)
    near[part] = 0.5 * talk(10 * RATE_HZ)
    residual = cancel(mic + near, reference, partitions=(24,))
    assert db((residual - near)[part]) < db(mic[part]) - 3.0
