"""Interference canceller: steady sound goes, a talker who begins stays, and the twins agree."""

from __future__ import annotations

import numpy as np
import pytest
from test_dsp_drift import STAGES

from kwsd.block import Block
from kwsd.dsp.frontend import FrontEnd
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.interference import DELAY_SAMPLES, WARM_BLOCKS, InterferenceCanceller
from kwsd.dsp.kalman import HOP_SAMPLES
from kwsd.dsp.native import NativeMissing, load_library
from kwsd.dsp.native_frontend import NativeFrontEnd

RATE_HZ = 16_000


def heard(source: np.ndarray, seed: int) -> np.ndarray:
    """A source in a decaying random room at two microphones, float32 [2, n]."""
    rng = np.random.default_rng(seed)
    rooms = rng.standard_normal((2, 800)) * 10 ** (-3 * np.arange(800) / 1200)
    rooms[:, 0] = 3.0
    wet = [np.convolve(source, room / np.sqrt((room**2).sum()))[: len(source)] for room in rooms]
    return np.stack(wet).astype(np.float32)


def noise_and_word() -> tuple[np.ndarray, np.ndarray]:
    """10 s of point noise, and half a second of a talker at 9 s, equally loud."""
    rng = np.random.default_rng(3)
    noise = heard(0.05 * rng.standard_normal(10 * RATE_HZ), 1)
    talker = np.zeros(10 * RATE_HZ)
    talker[9 * RATE_HZ : 9 * RATE_HZ + 8000] = 0.05 * rng.standard_normal(8000)
    return noise, heard(talker, 2)


def run(mics: np.ndarray, usable: bool = True) -> np.ndarray:
    stage = InterferenceCanceller()
    blocks = range(0, mics.shape[1] // HOP_SAMPLES * HOP_SAMPLES, HOP_SAMPLES)
    return np.concatenate(
        [stage.process(*mics[:, start : start + HOP_SAMPLES], usable) for start in blocks]
    )


def db(signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(signal.astype(np.float64) ** 2)))


def test_a_steady_point_noise_is_cancelled_and_a_word_stays() -> None:
    noise, word = noise_and_word()
    before = slice(8 * RATE_HZ, 9 * RATE_HZ)
    assert db(noise[0, before]) - db(run(noise)[before]) > 8.0
    during = slice(9 * RATE_HZ + 1000, 9 * RATE_HZ + 7000)
    both = run(noise + word)
    alone = run(noise)
    # What the talker adds is about as loud as the talker at the microphone.
    assert abs(db((both - alone)[during]) - db(word[0, during])) < 6.0


def test_in_quiet_a_talker_passes_unchanged() -> None:
    _, word = noise_and_word()
    rng = np.random.default_rng(4)
    mics = word + (1e-4 * rng.standard_normal(word.shape)).astype(np.float32)
    out = run(mics)
    late = np.pad(mics[0], (DELAY_SAMPLES, 0))[: len(out)]
    during = slice(9 * RATE_HZ, 9 * RATE_HZ + 8000)
    assert db((out - late)[during]) < db(late[during]) - 15.0


@pytest.mark.parametrize(("gain", "lag"), [(1.0, 0), (0.7, 0), (1.0, 3)])
def test_one_signal_on_two_channels_is_passed_on(gain: float, lag: int) -> None:
    noise, word = noise_and_word()
    mono = 0.1 * noise[0] + word[0]
    mics = np.stack([mono, gain * np.pad(mono, (lag, 0))[: len(mono)]]).astype(np.float32)
    out = run(mics)
    late = np.pad(mono, (DELAY_SAMPLES, 0))[: len(out)]
    np.testing.assert_array_equal(out[8 * RATE_HZ :], late[8 * RATE_HZ :])


@pytest.mark.parametrize("trouble", ["wind", "louder", "moved"])
def test_what_only_the_second_has_is_kept_out(trouble: str) -> None:
    """Wind, a finger, a contact: what predicts nothing must not come into the clean one."""
    noise, _ = noise_and_word()
    start, rng = 7 * RATE_HZ, np.random.default_rng(5)
    if trouble == "wind":
        noise[1, start:] += (0.5 * rng.standard_normal(len(noise[1]) - start)).astype(np.float32)
    elif trouble == "louder":
        noise[1, start:] *= 10.0
    else:
        noise[:, start:] = heard(0.05 * rng.standard_normal(10 * RATE_HZ), 9)[:, start:]
    out = run(noise)
    for first in range(start, 10 * RATE_HZ, RATE_HZ // 4):
        during = slice(first, first + RATE_HZ // 4)
        assert db(out[during]) < db(noise[0, during]) + (4.0 if first == start else 1.0)


def test_without_the_second_the_first_is_only_late() -> None:
    noise, _ = noise_and_word()
    out = run(noise[:, : 2 * RATE_HZ], usable=False)
    np.testing.assert_array_equal(out, np.pad(noise[0], (DELAY_SAMPLES, 0))[: len(out)])


def test_a_loud_talker_is_not_learnt() -> None:
    noise, _ = noise_and_word()
    start, end = 4 * RATE_HZ, 4 * RATE_HZ + 8000
    talker = np.zeros(noise.shape[1])
    talker[start:end] = 0.3 * np.random.default_rng(6).standard_normal(8000)
    after = slice(end + 8000, end + 12_000)
    out = run((noise + heard(talker, 2))[:, : end + 12_288])
    assert db(noise[0, after]) - db(out[after]) > 6.0


def test_a_filter_is_not_trusted_before_it_has_learnt() -> None:
    noise, _ = noise_and_word()
    begun = (WARM_BLOCKS - 1) * HOP_SAMPLES
    late = np.pad(noise[0], (DELAY_SAMPLES, 0))
    out = run(noise[:, : 2 * RATE_HZ])
    np.testing.assert_array_equal(out[:begun], late[:begun])
    assert np.any(out[begun:] != late[begun : len(out)])


def test_nothing_is_learnt_of_a_padded_block() -> None:
    noise, _ = noise_and_word()
    stage = InterferenceCanceller()
    for start in range(0, 2 * RATE_HZ, HOP_SAMPLES):
        part = noise[:, start : start + HOP_SAMPLES]
        out = stage.process(*part, True, learn=False)
        late = noise[0, start - DELAY_SAMPLES : start + HOP_SAMPLES - DELAY_SAMPLES]
        assert start == 0 or np.array_equal(out, late)


def test_reset_is_a_new_object() -> None:
    noise, _ = noise_and_word()
    loud = noise[:, : 2 * RATE_HZ]
    stage = InterferenceCanceller()
    for start in range(0, RATE_HZ, HOP_SAMPLES):
        stage.process(*(0.1 * loud[:, start : start + HOP_SAMPLES]), True)
    stage.reset()
    blocks = range(0, loud.shape[1], HOP_SAMPLES)
    outs = [stage.process(*loud[:, at : at + HOP_SAMPLES], True) for at in blocks]
    np.testing.assert_array_equal(np.concatenate(outs), run(loud))


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_of_the_past_sounds_on_behind_a_gap(stage) -> None:
    noise, _ = noise_and_word()
    front_end = stage(FrontEndConfig(aec=False, voice_branch=False), 2, False)
    front_end.process(Block(0, noise[:, : 2 * RATE_HZ], None))
    silence = np.zeros((2, 4000), np.float32)
    frame = front_end.process(Block(3 * RATE_HZ, silence, None, gap=True))
    assert not frame.detector.any()


def test_after_a_gap_the_room_is_known_and_the_past_is_not() -> None:
    noise, _ = noise_and_word()
    stage = InterferenceCanceller()
    for start in range(0, 8 * RATE_HZ, HOP_SAMPLES):
        stage.process(*noise[:, start : start + HOP_SAMPLES], True)
    stage.restart()
    first = stage.process(*noise[:, :HOP_SAMPLES], True)
    assert len(first) == HOP_SAMPLES
    parts = [
        stage.process(*noise[:, start : start + HOP_SAMPLES], True)
        for start in range(HOP_SAMPLES, RATE_HZ, HOP_SAMPLES)
    ]
    assert db(noise[0, :RATE_HZ]) - db(np.concatenate(parts)) > 6.0


def _native() -> bool:
    try:
        load_library()
    except NativeMissing:
        return False
    return True


@pytest.mark.skipif(not _native(), reason="the native core is not built")
def test_twins_agree() -> None:
    noise, word = noise_and_word()
    mics = noise + word
    mics[1, 3 * RATE_HZ : 4 * RATE_HZ] = 0.0
    mics[1, 7 * RATE_HZ : 8 * RATE_HZ] *= 20.0
    config = FrontEndConfig(aec=False, voice_branch=False)
    outs = []
    for stage in (FrontEnd(config, 2, False), NativeFrontEnd(config, 2, False)):
        frames = [
            stage.process(Block(start, mics[:, start : start + 480], None))
            for start in range(0, mics.shape[1], 480)
        ]
        outs.append(np.concatenate([frame.detector for frame in frames]))
    assert db(outs[1] - outs[0] + 1e-12) < db(outs[0]) - 90.0
