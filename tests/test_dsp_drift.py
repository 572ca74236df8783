"""Clock drift: found, undone without a seam, and never seen where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from test_dsp_kalman import db, noise, room, through

from kwsd.block import Block
from kwsd.dsp.delay import DelayLine
from kwsd.dsp.drift import (
    EXCHANGED_BLOCKS,
    LOOKAHEAD_SAMPLES,
    PAST_SAMPLES,
    DriftCorrector,
    interpolate,
)
from kwsd.dsp.frontend import FrontEnd, FrontEndConfig
from kwsd.dsp.kalman import HOP_SAMPLES
from kwsd.dsp.native import NativeMissing, load_library
from kwsd.dsp.native_frontend import NativeFrontEnd

RATE_HZ = 16_000
TONE_HZ = 1000.0


def native_missing() -> str:
    try:
        load_library()
    except NativeMissing as missing:
        return str(missing)
    return ""


STAGES = [
    FrontEnd,
    pytest.param(
        NativeFrontEnd, marks=pytest.mark.skipif(bool(native_missing()), reason=native_missing())
    ),
]


def echo_of(reference: np.ndarray, ppm: float, delay: int = 600) -> np.ndarray:
    """The reference in a room, played by a clock that the microphone finds slow or fast."""
    longer = np.concatenate([reference, np.zeros(RATE_HZ, np.float32)])
    played = soxr.resample(longer, RATE_HZ, RATE_HZ * (1 + 1e-6 * ppm), quality="VHQ")
    echo = through(played[: len(reference)].astype(np.float32), room(3))
    return np.concatenate([np.zeros(delay, np.float32), echo])[: len(reference)]


def hear(stage, mic: np.ndarray, reference: np.ndarray, drift: bool = True):
    """Detector branch, and the drift after every second."""
    config = FrontEndConfig(voice_branch=False, drift=drift)
    front_end = stage(config, 1, True)
    out, found = [], []
    for start in range(0, len(mic), RATE_HZ):
        part = slice(start, start + RATE_HZ)
        frame = front_end.process(Block(start, mic[None, part], reference[part]))
        out.append(frame.detector)
        found.append(frame.metrics.drift_ppm)
    return np.concatenate(out), found


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ppm", [-120.0, 60.0])
def test_a_drift_is_found_and_undone(stage, ppm: float) -> None:
    reference = noise(24.0, 0)
    mic = echo_of(reference, ppm) + noise(24.0, 2, level=1e-4)
    corrected, found = hear(stage, mic, reference)
    assert found[-1] == pytest.approx(ppm, abs=3.0)
    uncorrected, _ = hear(stage, mic, reference, drift=False)
    late = slice(18 * RATE_HZ, None)
    assert db(corrected[late]) < db(uncorrected[late]) - 10.0


@pytest.mark.parametrize("stage", STAGES)
def test_no_drift_is_seen_where_there_is_none(stage) -> None:
    reference = noise(24.0, 1)
    echo = echo_of(reference, 0.0)
    other = np.concatenate([np.zeros(40, np.float32), through(reference, room(8))])[: len(echo)]
    mic = np.concatenate([echo[: len(echo) // 2], other[len(echo) // 2 :]])
    talker = noise(24.0, 3) * (np.sin(np.arange(len(mic)) / 3000) > 0)
    _, found = hear(stage, (mic + talker).astype(np.float32), reference)
    assert found == [None] * len(found)


def test_twins_agree_while_they_correct() -> None:
    if native_missing():
        pytest.skip(native_missing())
    reference = noise(15.0, 4)
    mic = echo_of(reference, 80.0) + noise(15.0, 2, level=1e-4)
    ours, found = hear(FrontEnd, mic, reference)
    native, native_found = hear(NativeFrontEnd, mic, reference)
    assert found == native_found and found[-1] is not None
    assert np.abs(ours - native).max() < 1e-4


def test_interpolation_delays_by_a_fraction() -> None:
    time_s = np.arange(PAST_SAMPLES) / RATE_HZ
    past = np.sin(2 * np.pi * TONE_HZ * time_s).astype(np.float32)
    for delay in (16.0, 16.25, 100.5, 1039.75):
        expected = np.sin(2 * np.pi * TONE_HZ * (time_s[-HOP_SAMPLES:] - delay / RATE_HZ))
        assert np.abs(interpolate(past, delay) - expected).max() < 1e-3


@pytest.mark.parametrize("ppm", [2000.0, -2000.0])
def test_exchange_with_the_delay_line_has_no_seam(ppm: float) -> None:
    """A tone through corrector and line stays a tone, of the other rate, across the exchanges."""
    corrector, line = DriftCorrector(), DelayLine(1, 8000, 4)
    applied = 2 * EXCHANGED_BLOCKS * HOP_SAMPLES
    corrector.engage(0)
    exchanges, heard, late = 0, [], []
    for number in range(2600):
        time_s = (np.arange(HOP_SAMPLES) + number * HOP_SAMPLES) / RATE_HZ
        corrector.push(np.sin(2 * np.pi * TONE_HZ * time_s).astype(np.float32))
        back = corrector.give_back_blocks(applied // HOP_SAMPLES, ppm)
        line.unpush(back)
        applied -= back * HOP_SAMPLES
        for block in corrector.hand_over():
            line.push(block[None], 0)
            applied += HOP_SAMPLES
            exchanges += 1
        exchanges += back
        if corrector.exhausted and ppm < 0:
            break
        heard.append(line.push(corrector.process(ppm)[None], applied)[0])
        late.append((applied, corrector.delay_samples))
    assert exchanges >= EXCHANGED_BLOCKS
    signal = np.concatenate(heard[20:])
    # A sine follows its two samples before; a seam would not.
    step = 2 * np.pi * TONE_HZ * (1 - 1e-6 * ppm) / RATE_HZ
    rest = signal[2:] - 2 * np.cos(step) * signal[1:-1] + signal[:-2]
    assert np.abs(rest).max() < 5e-3
    assert min(delay for _, delay in late) >= LOOKAHEAD_SAMPLES
