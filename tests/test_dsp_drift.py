"""Clock drift: found, undone without a seam, and never seen where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from test_dsp_kalman import db, noise, room, through

from kwsd.block import Block
from kwsd.dsp.alignment import ReferenceAlignment
from kwsd.dsp.delay import DelayLine
from kwsd.dsp.drift import (
    EXCHANGED_BLOCKS,
    FULL_SAMPLES,
    LARGEST_PPM,
    LOOKAHEAD_SAMPLES,
    PAST_SAMPLES,
    PICTURE_ESTIMATES,
    RUN_ON_BLOCKS,
    SETTLING_ESTIMATES,
    DriftCorrector,
    DriftEstimator,
    interpolate,
)
from kwsd.dsp.frontend import FrontEnd
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.kalman import HOP_SAMPLES
from kwsd.dsp.native import NativeMissing, load_library
from kwsd.dsp.native_frontend import NativeFrontEnd

RATE_HZ = 16_000
TONE_HZ = 1037.0
"""No whole number of periods in a block: one that is skipped or heard twice is seen."""

BLOCK_SAMPLES = 1600


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


@pytest.mark.parametrize("ppm", [LARGEST_PPM, -LARGEST_PPM])
def test_exchange_with_the_delay_line_has_no_seam(ppm: float) -> None:
    """A tone through corrector and line stays a tone, of the other rate, across the exchanges."""
    corrector, line = DriftCorrector(), DelayLine(1, 8000, 4)
    applied = 2 * EXCHANGED_BLOCKS * HOP_SAMPLES
    corrector.delay_samples = FULL_SAMPLES - 1.0 if ppm > 0 else LOOKAHEAD_SAMPLES + 2.0
    handed_over, given_back, heard = 0, 0, []
    for number in range(80):
        time_s = (np.arange(HOP_SAMPLES) + number * HOP_SAMPLES) / RATE_HZ
        corrector.push(np.sin(2 * np.pi * TONE_HZ * time_s).astype(np.float32))
        back = corrector.give_back_blocks(applied // HOP_SAMPLES, ppm)
        line.unpush(back)
        given_back += back
        applied -= back * HOP_SAMPLES
        if corrector.full:
            for block in corrector.hand_over(corrector.whole_blocks, ppm):
                line.push(block[None], 0)
                applied += HOP_SAMPLES
                handed_over += 1
        heard.append(line.push(corrector.process(ppm)[None], applied)[0])
        assert corrector.delay_samples >= LOOKAHEAD_SAMPLES
    # Once, and never both: a block that is given back is not to be handed over again.
    once = (EXCHANGED_BLOCKS, 0) if ppm > 0 else (0, EXCHANGED_BLOCKS)
    assert (handed_over, given_back) == once
    signal = np.concatenate(heard[20:])
    # A sine follows its two samples before; a seam would not.
    step = 2 * np.pi * TONE_HZ * (1 - 1e-6 * ppm) / RATE_HZ
    rest = signal[2:] - 2 * np.cos(step) * signal[1:-1] + signal[:-2]
    assert np.abs(rest).max() < 5e-4


@pytest.mark.parametrize("ppm", [-5.0, -LARGEST_PPM])
def test_what_was_given_back_is_not_handed_over(ppm: float) -> None:
    corrector = DriftCorrector()
    corrector.delay_samples = LOOKAHEAD_SAMPLES + 0.999
    assert corrector.give_back_blocks(30, ppm) == EXCHANGED_BLOCKS
    assert not corrector.full
    assert corrector.whole_blocks < EXCHANGED_BLOCKS


def scene(parts: list[tuple[np.ndarray, float, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Microphone and reference: pieces of a reference, each with its drift and its delay."""
    mic = np.concatenate([echo_of(*part) for part in parts])
    mic += noise(len(mic) / RATE_HZ + 1, 2, level=1e-4)[: len(mic)]
    return mic, np.concatenate([reference for reference, _, _ in parts])


def erle(stage, mic: np.ndarray, reference: np.ndarray, gap_at: int = -1):
    """Echo return loss enhancement of every tenth of a second in dB, and what was found last."""
    front_end = stage(FrontEndConfig(voice_branch=False), 1, True)
    found = []
    for start in range(0, len(mic), BLOCK_SAMPLES):
        part = slice(start, start + BLOCK_SAMPLES)
        gap = start <= gap_at < start + BLOCK_SAMPLES
        frame = front_end.process(Block(start, mic[None, part], reference[part], gap=gap))
        # At most one block of the canceller is held back: a tenth of a second stays one.
        length = len(frame.detector)
        end = frame.start_sample + length
        found.append(db(mic[end - length : end]) - db(frame.detector))
    return np.array(found), frame.metrics


@pytest.mark.parametrize("stage", STAGES)
def test_a_negative_drift_behind_a_long_delay_does_not_stick(stage) -> None:
    mic, reference = scene([(noise(30.0, 0), -250.0, 3000)])
    enhancement, metrics = erle(stage, mic, reference)
    assert metrics.drift_ppm == pytest.approx(-250.0, abs=3.0)
    assert enhancement[-50:].min() > 30.0


@pytest.mark.parametrize("stage", STAGES)
def test_a_hand_over_costs_no_echo(stage) -> None:
    """The delay leaves the corrector so much that it is full some seconds after it engages."""
    mic, reference = scene([(noise(22.0, 0), 20.0, 1250)])
    enhancement, metrics = erle(stage, mic, reference)
    assert metrics.drift_ppm == pytest.approx(20.0, abs=6.0)
    assert enhancement[100:].min() > 25.0


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("before_ppm", "ppm"), [(-240.0, 240.0), (300.0, -300.0)])
def test_another_clock_is_followed(stage, before_ppm: float, ppm: float) -> None:
    """Another loudspeaker: 600 ppm from one bound to the other. Before, 0 dB from then on."""
    mic, reference = scene([(noise(12.0, 0), before_ppm, 1500), (noise(26.0, 1), ppm, 1000)])
    enhancement, metrics = erle(stage, mic, reference)
    assert metrics.drift_ppm == pytest.approx(ppm, abs=6.0)
    assert enhancement[-20:].mean() > 25.0


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("gap", [False, True])
@pytest.mark.parametrize("delay", [60, 300])
def test_an_earlier_echo_is_found_while_a_drift_is_undone(stage, gap: bool, delay: int) -> None:
    """Before, the corrector's own delay hid it: 2 dB for minutes."""
    first = noise(16.0, 0)
    mic, reference = scene([(first, 60.0, 1000), (noise(10.0, 1), 60.0, delay)])
    enhancement, metrics = erle(stage, mic, reference, len(first) if gap else -1)
    assert enhancement[140:155].mean() > 25.0
    assert enhancement[-20:].mean() > 25.0
    assert metrics.echo_delay_ms == pytest.approx((delay + 40 + 0.96 * 10) / 16, abs=3.0)


@pytest.mark.parametrize("stage", STAGES)
def test_an_earlier_echo_is_found_within_a_block_of_the_corrector(stage) -> None:
    """There is no whole block to hand over, and what is left of the echo is found instead of it."""
    mic, reference = scene([(noise(14.0, 0), 60.0, 380), (noise(16.0, 1), 60.0, 60)])
    enhancement, metrics = erle(stage, mic, reference)
    assert enhancement[-20:].mean() > 25.0
    assert metrics.echo_delay_ms == pytest.approx((60 + 40 + 0.96 * 16) / 16, abs=3.0)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("before_ppm", "ppm", "delay"),
    [(-250.0, -250.0, 1200), (-80.0, 40.0, 1200), (-250.0, -250.0, 320), (-80.0, -80.0, 250)],
)
def test_an_exhausted_corrector_works_again(
    stage, before_ppm: float, ppm: float, delay: int
) -> None:
    first = noise(20.0, 0)
    mic, reference = scene([(first, before_ppm, 100), (noise(18.0, 1), ppm, delay)])
    enhancement, metrics = erle(stage, mic, reference, len(first))
    # Nothing can be done where the echo comes too early.
    assert enhancement[190:195].mean() < 20.0
    assert metrics.drift_ppm == pytest.approx(ppm, abs=3.0)
    assert enhancement[-20:].mean() > 25.0


def test_an_exhausted_corrector_rests_while_no_echo_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else what is given up in a mute is begun anew at once, every seven seconds."""
    engaged = []
    engage = DriftCorrector.engage

    def noted(corrector: DriftCorrector, spare_samples: int) -> None:
        engaged.append(spare_samples)
        engage(corrector, spare_samples)

    front_end = FrontEnd(FrontEndConfig(voice_branch=False), 1, True)
    mic, reference = scene([(noise(20.0, 0), -80.0, 140), (noise(34.0, 1), -80.0, 400)])
    muted = 34 * RATE_HZ
    mic[muted:] = noise(54.0, 9, level=1e-4)[muted : len(mic)]
    for start in range(0, len(mic), BLOCK_SAMPLES):
        part = slice(start, start + BLOCK_SAMPLES)
        if start == muted + 2 * RATE_HZ:
            monkeypatch.setattr(DriftCorrector, "engage", noted)
        gap = start == 20 * RATE_HZ
        front_end.process(Block(start, mic[None, part], reference[part], gap=gap))
    assert engaged == []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["beating tone", "chord", "vibrato"])
def test_no_drift_is_seen_in_tones(stage, name: str) -> None:
    """Of one clock, in a room: many delays fit, and the best one wanders."""
    time_s = np.arange(30 * RATE_HZ) / RATE_HZ
    turns = 2 * np.pi * time_s
    tones = {
        "beating tone": 0.1 * np.sin(700 * turns) * (1 + 0.8 * np.sin(4 * turns)),
        "chord": 0.05 * sum(np.sin(hz * turns) for hz in (262, 330, 392, 523)),
        "vibrato": 0.1 * np.sin(440 * turns + 3 * np.sin(5 * turns)),
    }
    reference = tones[name].astype(np.float32)
    mic = echo_of(reference, 0.0) + noise(31.0, 2, level=1e-4)[: len(reference)]
    _, found = hear(stage, mic, reference)
    assert found == [None] * len(found)


class Pictures:
    """Stands for a delay tracker that hears one path, later by some samples with each picture."""

    def __init__(self, broad: bool = True) -> None:
        self.broad = broad
        self._bins = np.arange(4097) / 8192
        self.late = 0.0

    @property
    def whitened(self) -> np.ndarray:
        return np.exp(-1j * np.pi * 2 * self._bins * self.late / 2).astype(np.complex64)


def show(
    estimator: DriftEstimator, tracker: Pictures, pictures: int, ppm: float, block: int
) -> int:
    """Pictures of a drift that is not undone; gives the number of the next block."""
    for _ in range(pictures * PICTURE_ESTIMATES):
        estimator.observe(tracker, block, estimator.ppm)  # type: ignore[arg-type]
        block += 16
        tracker.late += 1e-6 * ppm * 16 * HOP_SAMPLES
    return block


def test_three_findings_that_agree_begin_a_correction() -> None:
    estimator, tracker = DriftEstimator(), Pictures()
    for _ in range(SETTLING_ESTIMATES):
        estimator.observe(tracker, 0, 0.0)  # type: ignore[arg-type]
    block = show(estimator, tracker, 3, 40.0, 0)
    assert estimator.ppm == 0.0
    show(estimator, tracker, 1, 40.0, block)
    assert estimator.ppm == pytest.approx(40.0, abs=2.0)


@pytest.mark.parametrize(("found_ppm", "followed"), [(240.0, False), (-560.0, True)])
def test_a_finding_is_judged_by_the_rate_it_asks_for(found_ppm: float, followed: bool) -> None:
    """At 240 ppm: 480 is what no clock runs at, -320 comes of too large a measurement of -300."""
    estimator, tracker = DriftEstimator(), Pictures()
    estimator.ppm = 240.0
    for block in range(0, 16 * PICTURE_ESTIMATES * 5, 16):
        estimator.observe(tracker, block, 240.0)  # type: ignore[arg-type]
        tracker.late += 1e-6 * found_ppm * 16 * HOP_SAMPLES
    assert (estimator.ppm != 240.0) == followed


def test_findings_of_all_sizes_begin_none() -> None:
    estimator, tracker, block = DriftEstimator(), Pictures(), 0
    for ppm in (10.0, 60.0, 15.0, 90.0, 10.0, 80.0, 12.0, 70.0):
        block = show(estimator, tracker, 1, ppm, block)
    assert estimator.ppm == 0.0


def test_tones_are_not_looked_at() -> None:
    estimator, tracker = DriftEstimator(), Pictures(broad=False)
    show(estimator, tracker, 8, 40.0, 0)
    assert estimator.ppm == 0.0


def test_a_drift_that_is_gone_counts_as_none() -> None:
    estimator, tracker = DriftEstimator(), Pictures()
    estimator.ppm = 82.0
    # Two samples a picture, which is measured without an error.
    show(estimator, tracker, 5, -2e6 / (16 * PICTURE_ESTIMATES * HOP_SAMPLES), 0)
    assert not estimator.engaged


def test_the_rate_waits_in_a_long_pause() -> None:
    corrector, silence = DriftCorrector(), np.zeros(HOP_SAMPLES, np.float32)
    corrector.engage(0)
    for _ in range(RUN_ON_BLOCKS):
        corrector.push(silence)
        corrector.process(100.0)
    after_a_minute = corrector.delay_samples
    assert after_a_minute == pytest.approx(LOOKAHEAD_SAMPLES + 96.0, abs=0.1)
    assert not corrector.follows(100.0)
    for _ in range(10):
        corrector.push(silence)
        corrector.process(100.0)
    assert corrector.delay_samples == after_a_minute
    corrector.push(silence + np.float32(0.1))
    corrector.process(100.0)
    assert corrector.delay_samples > after_a_minute


def test_the_delay_never_exceeds_its_line() -> None:
    """With a corrector that is full all the time, as hours of silence would have it."""
    alignment = ReferenceAlignment(500, True, (20,))
    alignment._drift.ppm = LARGEST_PPM
    recording = noise(2.0, 5)
    for start in range(0, len(recording), HOP_SAMPLES):
        part = recording[start : start + HOP_SAMPLES]
        alignment._corrector.delay_samples = float(FULL_SAMPLES)
        aligned, _ = alignment.push(part, part, None)
        assert np.isfinite(aligned).all()
        assert alignment._tracker.applied_samples <= 8000


@pytest.mark.slow
def test_hours_of_silence_are_survived() -> None:
    """Before, the native stage read outside its memory after 54 blocks of delay."""
    if native_missing():
        pytest.skip(native_missing())
    front_end = NativeFrontEnd(FrontEndConfig(voice_branch=False), 1, True)
    first, last = noise(16.0, 0), noise(16.0, 5)
    hour = np.zeros(3600 * RATE_HZ, np.float32)
    delays_ms = []
    for reference in (first, hour, hour, last):
        mic, _ = scene([(reference, 300.0, 1000)])
        for start in range(0, len(mic), BLOCK_SAMPLES):
            part = slice(start, start + BLOCK_SAMPLES)
            frame = front_end.process(Block(start, mic[None, part], reference[part]))
        delays_ms.append(frame.metrics.echo_delay_ms)
    # It grows for a minute, for so long the echo is where the rate says.
    assert delays_ms[1] - delays_ms[0] == pytest.approx(0.3 * 60, abs=0.5)
    assert delays_ms[2] == delays_ms[1]
    assert delays_ms[3] == pytest.approx(delays_ms[0], abs=3.0)
    assert frame.metrics.erle_db > 25.0
