"""Meters and the choice of the microphone."""

import numpy as np
import pytest

from kwsd.dsp.metrics import FLOOR_SPAN_BLOCKS, FLOOR_SPANS, LevelFloor, Meter, power_to_db
from kwsd.dsp.microphone_choice import DEAD_BLOCKS, RETURN_BLOCKS, MicrophoneChoice


def block(level, seed=0, rows=1):
    return (level * np.random.default_rng(seed).standard_normal((rows, 256))).astype(np.float32)


def test_levels():
    meter = Meter(2)
    for seed in range(200):
        mics = block(0.1, seed, rows=2)
        mics[1] *= 0.1
        meter.update(mics, block(0.01, seed + 1000)[0], 0.1 * mics[0], 0)
    metrics = meter.snapshot(True, 1600, 0.0, None, 0, (False, False))
    assert metrics.mic_level_dbfs == pytest.approx((-20.0, -40.0), abs=0.3)
    assert metrics.reference_level_dbfs == pytest.approx(-40.0, abs=0.3)
    assert metrics.erle_db == pytest.approx(20.0, abs=0.1)
    assert metrics.echo_delay_ms == 100.0
    assert metrics.echo_active
    assert metrics.noise_floor_dbfs == pytest.approx(-40.0, abs=0.6)
    assert 0.0 <= metrics.snr_db < 1.0
    assert metrics.doa_deg is None


def test_no_reference_has_no_echo():
    meter = Meter(1)
    meter.update(block(0.1), np.zeros(256, np.float32), block(0.1)[0], 0)
    metrics = meter.snapshot(False, None, 0.0, None, 0, (False,))
    assert metrics.reference_level_dbfs is None
    assert metrics.echo_delay_ms is None
    assert metrics.erle_db is None
    assert not metrics.echo_active


def test_speech_stands_over_the_floor():
    meter = Meter(1)
    for index in range(300):
        mic = block(0.1 if 250 <= index else 0.001, index)
        meter.update(mic, np.zeros(256, np.float32), mic[0], 0)
    metrics = meter.snapshot(False, None, 0.0, None, 0, (False,))
    assert metrics.noise_floor_dbfs == pytest.approx(-60.0, abs=1.0)
    assert metrics.snr_db == pytest.approx(40.0, abs=2.0)


def test_floor_is_the_minimum_of_the_last_spans():
    floor = LevelFloor()
    powers = np.random.default_rng(0).uniform(0.1, 1.0, 2000)
    for index, power in enumerate(powers):
        value = floor.update(float(power))
        shortest = powers[max(0, index + 1 - (FLOOR_SPANS - 1) * FLOOR_SPAN_BLOCKS) : index + 1]
        longest = powers[max(0, index + 1 - FLOOR_SPANS * FLOOR_SPAN_BLOCKS) : index + 1]
        assert longest.min() <= value <= shortest.min()


def test_a_long_sentence_does_not_raise_the_floor_and_another_noise_does():
    meter = Meter(1)
    silence = np.zeros(256, np.float32)
    levels = [0.001] * 250 + [0.1] * 280 + [0.001] * 20 + [0.01] * 400
    floors = []
    for index, level in enumerate(levels):
        mic = block(level, index)
        meter.update(mic, silence, mic[0], 0)
        metrics = meter.snapshot(False, None, 0.0, None, 0, (False,))
        floors.append(metrics.noise_floor_dbfs)
    assert floors[529] == pytest.approx(-60.0, abs=1.0)
    assert floors[-1] == pytest.approx(-40.0, abs=1.0)


@pytest.mark.parametrize(("level_dbfs", "playing"), [(-57.0, True), (-63.0, False)])
def test_the_loudspeaker_plays_from_60_db_below_full_scale_on(level_dbfs, playing):
    meter = Meter(1)
    for seed in range(50):
        reference = block(10 ** (level_dbfs / 20), seed)[0]
        meter.update(block(0.01, seed + 100), reference, block(0.001, seed + 200)[0], 0)
    metrics = meter.snapshot(True, None, 0.0, None, 0, (False,))
    assert metrics.echo_active == playing
    assert (metrics.erle_db is not None) == playing


def test_what_was_cancelled_is_of_the_microphone_in_use():
    meter = Meter(2)
    for seed in range(100):
        mics = block(0.1, seed, rows=2)
        mics[0] *= 0.01
        meter.update(mics, block(0.1, seed + 1000)[0], 0.1 * mics[1], 1)
    assert meter.erle_db == pytest.approx(20.0, abs=0.1)


def test_a_talker_in_a_pause_of_the_loudspeaker_leaves_what_was_cancelled():
    meter = Meter(1)
    silence = np.zeros(256, np.float32)
    for seed in range(100):
        mic = block(0.1, seed)
        meter.update(mic, block(0.01, seed + 1000)[0], 0.1 * mic[0], 0)
    for _ in range(200):
        meter.update(silence[None], silence, silence, 0)
    assert not meter.echo_active
    for seed in range(100):
        mic = block(0.1, seed)
        meter.update(mic, silence, mic[0], 0)
    assert meter.erle_db == pytest.approx(20.0, abs=0.1)


def test_digital_silence_is_finite():
    meter = Meter(1)
    zero = np.zeros((1, 256), np.float32)
    meter.update(zero, zero[0], zero[0], 0)
    metrics = meter.snapshot(True, None, 0.0, None, 0, (False,))
    assert metrics.mic_level_dbfs == (-120.0,)
    assert metrics.snr_db == 0.0
    assert power_to_db(0.0) == -120.0


def test_second_microphone_takes_over_from_a_dead_first_one():
    choice = MicrophoneChoice(2)
    live = block(1e-3, rows=2)
    assert [choice.update(live) for _ in range(3)] == [0, 0, 0]
    stuck = live.copy()
    stuck[0] = 0.25
    used = [choice.update(stuck) for _ in range(DEAD_BLOCKS + 2)]
    assert used[: DEAD_BLOCKS - 1] == [0] * (DEAD_BLOCKS - 1)
    assert used[-1] == 1
    assert choice.dead == (True, False)
    back = [choice.update(live) for _ in range(RETURN_BLOCKS)]
    assert back[0] == 1
    assert back[-1] == 0


def test_second_microphone_takes_over_from_a_clipping_first_one():
    choice = MicrophoneChoice(2)
    mics = block(0.1, rows=2)
    mics[0] = np.sign(mics[0])
    used = [choice.update(mics) for _ in range(40)]
    assert used[-1] == 1
    assert choice.dead == (False, False)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_sample_in_twenty_at_full_scale_is_clipping(sign):
    choice = MicrophoneChoice(2)
    mics = block(0.1, rows=2)
    mics[0, ::20] = sign
    assert [choice.update(mics) for _ in range(40)][-1] == 1
    seldom = MicrophoneChoice(2)
    mics = block(0.1, rows=2)
    mics[0, 7] = sign
    assert {seldom.update(mics) for _ in range(200)} == {0}


def test_a_loose_contact_of_the_first_microphone_does_not_switch_to_and_fro():
    choice = MicrophoneChoice(2)
    live = block(1e-3, rows=2)
    stuck = live.copy()
    stuck[0] = 0.0
    for _ in range(20):
        choice.update(stuck)
    # Half a second of life between any two failures.
    used = {choice.update(mics) for _ in range(4) for mics in [live] * 31 + [stuck] * 20}
    assert used == {1}


def test_first_microphone_stays_where_none_is_better():
    both = MicrophoneChoice(2)
    assert {both.update(np.zeros((2, 256), np.float32)) for _ in range(40)} == {0}
    single = MicrophoneChoice(1)
    assert {single.update(np.zeros((1, 256), np.float32)) for _ in range(40)} == {0}
    choice = MicrophoneChoice(2)
    stuck = block(1e-3, rows=2)
    stuck[0] = 0.0
    for _ in range(40):
        choice.update(stuck)
    assert choice.used == 1
    for _ in range(40):
        choice.update(np.zeros((2, 256), np.float32))
    assert choice.used == 0


def test_a_block_that_is_not_finite_is_not_averaged():
    meter = Meter(1)
    for seed in range(40):
        broken = np.full(256, np.nan, np.float32)
        residual = broken if seed == 20 else block(0.01, seed + 100)[0]
        meter.update(block(0.1, seed), block(0.1, seed + 50)[0], residual, 0)
    assert meter.erle_db == pytest.approx(20.0, abs=0.3)
    assert meter.residual_power == pytest.approx(1e-4, rel=0.1)
