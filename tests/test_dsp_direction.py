"""Direction of arrival: known delays between two microphones, in both twins."""

from __future__ import annotations

import numpy as np
import pytest
from test_dsp_drift import STAGES
from test_dsp_kalman import noise

from kwsd.block import Block
from kwsd.dsp.frontend_config import FrontEndConfig

RATE_HZ = 16_000
SPACING_MM = 60


def late(signal: np.ndarray, delay_s: float) -> np.ndarray:
    """A signal delayed by any time, by its spectrum."""
    frequency_hz = np.fft.rfftfreq(len(signal), 1 / RATE_HZ)
    turned = np.fft.rfft(signal) * np.exp(-2j * np.pi * frequency_hz * delay_s)
    return np.fft.irfft(turned, len(signal)).astype(np.float32)


def heard(angle_deg: float, talker: np.ndarray) -> np.ndarray:
    """Two microphones, each with a noise of its own; positive angles reach microphone 0 first."""
    delay_s = SPACING_MM * 1e-3 / 343.0 * np.sin(np.deg2rad(angle_deg))
    mics = np.stack([talker, late(talker, delay_s)])
    return (mics + np.stack([noise(4.0, 8, 1e-3), noise(4.0, 9, 1e-3)])).astype(np.float32)


def angle_of(stage, mics: np.ndarray, spacing_mm: int = SPACING_MM) -> float | None:
    front_end = stage(FrontEndConfig(voice_branch=False, mic_spacing_mm=spacing_mm), 2, False)
    angle = None
    for start in range(0, mics.shape[1], 480):
        frame = front_end.process(Block(start, mics[:, start : start + 480], None))
        angle = frame.metrics.doa_deg
    return angle


def bursts() -> np.ndarray:
    """Syllables of noise; a pause before them says what the noise floor is."""
    talker = noise(4.0, 1, 0.1)
    talker[: 2 * RATE_HZ] = 0.0
    return talker * (np.sin(np.arange(len(talker)) / 1500) > 0)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("angle_deg", [-70.0, -20.0, 0.0, 45.0])
def test_the_angle_is_found(stage, angle_deg: float) -> None:
    found = angle_of(stage, heard(angle_deg, bursts()))
    assert found == pytest.approx(angle_deg, abs=4.0)


@pytest.mark.parametrize("stage", STAGES)
def test_noise_of_its_own_in_each_microphone_has_no_direction(stage) -> None:
    apart = np.stack([noise(4.0, 3, 0.01), noise(4.0, 4, 0.01)])
    assert angle_of(stage, apart) is None


@pytest.mark.parametrize("stage", STAGES)
def test_without_a_distance_or_with_a_dead_microphone_there_is_none(stage) -> None:
    mics = heard(30.0, bursts())
    assert angle_of(stage, mics, spacing_mm=0) is None
    mics[1] = 0.0
    assert angle_of(stage, mics) is None


@pytest.mark.parametrize("stage", STAGES)
def test_a_steady_noise_from_elsewhere_does_not_turn_it(stage) -> None:
    talker = bursts()
    talker[3 * RATE_HZ :] = 0.0
    fan = noise(4.0, 5, 0.003)
    mics = heard(45.0, talker) + heard(-60.0, fan)
    assert angle_of(stage, mics) == pytest.approx(45.0, abs=4.0)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("dead", [0, 1])
def test_a_microphone_that_dies_in_a_pause_leaves_none(stage, dead: int) -> None:
    talker = bursts()
    talker[-RATE_HZ // 2 :] = 0.0
    mics = heard(30.0, talker)
    assert angle_of(stage, mics) == pytest.approx(30.0, abs=4.0)
    mics[dead, -RATE_HZ // 2 :] = 0.0
    assert angle_of(stage, mics) is None


@pytest.mark.parametrize("stage", STAGES)
def test_the_sides_stay_while_the_second_microphone_is_listened_to(stage) -> None:
    mics = heard(45.0, bursts())
    mics[0, :54_000] = 0.0
    front_end = stage(FrontEndConfig(voice_branch=False, mic_spacing_mm=SPACING_MM), 2, False)
    frame = front_end.process(Block(0, mics, None))
    assert frame.metrics.microphone == 1
    assert frame.metrics.doa_deg == pytest.approx(45.0, abs=4.0)


@pytest.mark.parametrize("stage", STAGES)
def test_behind_a_gap_nobody_has_spoken_yet(stage) -> None:
    mics = heard(30.0, bursts())
    front_end = stage(FrontEndConfig(voice_branch=False, mic_spacing_mm=SPACING_MM), 2, False)
    assert front_end.process(Block(0, mics, None)).metrics.doa_deg is not None
    quiet = mics[:, : RATE_HZ // 2]
    frame = front_end.process(Block(2 * mics.shape[1], quiet, None, gap=True))
    assert frame.metrics.doa_deg is None


def test_twins_agree() -> None:
    mics = heard(33.0, bursts())
    found = [angle_of(getattr(stage, "values", [stage])[0], mics) for stage in STAGES]
    assert found[0] == pytest.approx(found[1], abs=0.1)
