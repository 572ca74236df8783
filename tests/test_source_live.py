"""Live input over a device that the test plays: holes, losses, mute."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from live_bench import RATE_HZ, Bench, FakeClock, FakeDevice, HungDevice, MakeDevice, ramp_of

from kwsd.capture.device import DeviceUnavailable, Period
from kwsd.capture.health import AudioState
from kwsd.config_schema import AudioSettings
from kwsd.daemon.input import period_ms_of
from kwsd.errors import RuntimeUnavailable
from kwsd.source.resample import Resampler

RATES_HZ = (RATE_HZ, 48_000)


def test_blocks_follow_each_other_and_channels_are_mapped() -> None:
    bench = Bench()
    blocks = bench.run(1.0)
    assert [block.start_sample for block in blocks] == list(range(0, 480 * len(blocks), 480))
    assert not any(block.gap for block in blocks)
    mics = np.concatenate([block.mics for block in blocks], axis=1)
    reference = np.concatenate([block.reference for block in blocks])
    np.testing.assert_array_equal([*mics, reference], ramp_of(0, mics.shape[1]).T)
    assert bench.input.health.state is AudioState.RUNNING


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_hole_is_marked_and_moves_the_counter_by_what_is_missing(rate_hz: int) -> None:
    bench = Bench(*["audio"] * 10, "gap", rate_hz=rate_hz)
    blocks = bench.run(2.0)
    marked = [index for index, block in enumerate(blocks) if block.gap]
    assert len(marked) == 1
    # Half a second behind all that was heard, with what waited for its block when the hole came.
    assert blocks[marked[0]].start_sample == 10 * 320 + 8000
    assert bench.input.counters.gaps == 1


class StockedDevice(FakeDevice):
    """Has half a second ready when it is opened, as a sound server may."""

    def read(self, timeout_s: float) -> Period | None:
        if self._count == 0:
            return self._ramp(self._rate_hz // 2, False)
        return super().read(timeout_s)


class ForgetfulDevice(FakeDevice):
    """Counts from 0 again behind a hole."""

    def _ramp(self, samples: int, gap: bool) -> Period:
        period = super()._ramp(samples, gap)
        return replace(period, first_frame=0) if gap else period


@pytest.mark.parametrize(
    ("make", "hole", "heard"),
    [(StockedDevice, "lost", 8000 + 10 * 320), (ForgetfulDevice, "gap", 10 * 320)],
)
def test_the_position_never_goes_back(make: MakeDevice, hole: str, heard: int) -> None:
    bench = Bench(*["audio"] * 10, hole, make=make)
    blocks = bench.run(2.0)
    (first,) = [block for block in blocks if block.gap]
    assert first.start_sample == heard
    starts = [block.start_sample for block in blocks]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_nothing_of_what_was_before_a_hole_is_heard_behind_it(rate_hz: int) -> None:
    bench = Bench(*["audio"] * 10, "gap", rate_hz=rate_hz)
    blocks = bench.run(2.0)
    while not blocks[0].gap:
        blocks.pop(0)
    after = np.concatenate([[*block.mics, block.reference] for block in blocks], axis=1)
    first, frames = 10 * rate_hz // 50, after.shape[1] * rate_hz // RATE_HZ
    anew = Resampler(rate_hz, 3).process(ramp_of(first, 2 * frames, rate_hz))
    np.testing.assert_allclose(after, anew.T[:, : after.shape[1]], atol=1e-6)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_lost_device_is_opened_again_and_the_counter_goes_on(rate_hz: int) -> None:
    bench = Bench(*["audio"] * 20, "lost", rate_hz=rate_hz)
    begin_s = bench.clock.now_s
    blocks = bench.run(0.4)
    bench.refusals = 3
    states = set()
    for _ in range(80):
        blocks += bench.input.read(0.1)
        states.add(bench.input.health.state)
    assert AudioState.LOST in states
    assert bench.input.health.state is AudioState.RUNNING
    assert len(bench.devices) == 2 and bench.devices[0].closed
    assert bench.input.counters.openings == 2
    assert bench.input.counters.overruns == 2
    starts = [block.start_sample for block in blocks]
    assert starts == sorted(starts)
    (first,) = [block for block in blocks if block.gap]
    # By the clock: each device gives its audio from its opening on.
    passed_s = bench.devices[1].opened_s - begin_s
    assert first.start_sample == pytest.approx(passed_s * RATE_HZ, abs=1)


def test_a_device_that_delivers_nothing_is_opened_again() -> None:
    bench = Bench(*["audio"] * 5, *["nothing"] * 30)
    bench.run(5.0)
    assert len(bench.devices) >= 2


def scaled(*levels: float) -> MakeDevice:
    class ScaledDevice(FakeDevice):
        def _ramp(self, samples: int, gap: bool) -> Period:
            period = super()._ramp(samples, gap)
            return replace(period, samples=period.samples * np.array(levels, np.float32))

    def make(clock: FakeClock, script: deque[str], rate_hz: int) -> FakeDevice:
        return ScaledDevice(clock, script, rate_hz)

    return make


@pytest.mark.parametrize(
    ("levels", "state", "detail"),
    [
        ((0.0, 0.0, 1.0), AudioState.SILENT, "microphones [0, 1] do not change"),
        ((1.0, 1.0, 0.0), AudioState.RUNNING, ""),
    ],
)
def test_a_reference_says_nothing_of_the_microphones(
    levels: tuple[float, ...], state: AudioState, detail: str
) -> None:
    bench = Bench(make=scaled(*levels))
    assert bench.run(5.0)
    assert (bench.input.health.state, bench.input.health.detail) == (state, detail)


def test_mute_closes_the_device_and_unmute_opens_it() -> None:
    bench = Bench()
    bench.run(0.5)
    bench.input.mute(True)
    assert bench.devices[0].closed
    assert bench.input.health.state is AudioState.MUTED
    assert bench.run(1.0) == []
    bench.input.mute(False)
    blocks = bench.run(0.5)
    assert blocks and blocks[0].gap
    assert len(bench.devices) == 2


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_first_milliseconds_are_thrown_away(rate_hz: int) -> None:
    bench = Bench(discard_ms=100, rate_hz=rate_hz)
    blocks = bench.run(0.5)
    # A little behind the first sample, where a resampler still swings.
    assert blocks[0].mics[0, 100] == pytest.approx(ramp_of(1700, 1)[0, 0], abs=0.01)


def test_open_now_tells_at_once() -> None:
    bench = Bench()
    bench.refusals = 1
    with pytest.raises(DeviceUnavailable, match="not there"):
        bench.input.open_now()
    bench.input.open_now()
    assert bench.run(0.5)
    assert len(bench.devices) == 1


def test_never_waits_longer_than_asked() -> None:
    bench = Bench()
    bench.refusals = 1000
    for _ in range(50):
        before_s = bench.clock.now_s
        assert bench.input.read(0.1) == []
        assert bench.clock.now_s - before_s <= 0.1 + 1e-9


def test_without_its_library_it_is_lost_and_looks_again() -> None:
    bench = Bench()
    bench.refusals, bench.refusal = 3, RuntimeUnavailable("libkwscapture.so is not built")
    bench.run(0.5)
    assert bench.input.health.state is AudioState.LOST
    assert bench.input.health.detail == "libkwscapture.so is not built"
    assert bench.run(5.0)


def test_a_device_that_does_not_close_is_reported_and_not_opened_twice() -> None:
    bench = Bench(*["audio"] * 10, "lost", make=HungDevice)
    bench.run(0.3)
    (hung,) = bench.devices
    assert isinstance(hung, HungDevice)
    try:
        # The reads came back though nothing has let the device go.
        assert not hung.closed
        assert bench.input.health.state is AudioState.LOST
        bench.run(3.0)
        assert len(bench.devices) == 1
        assert bench.input.health.detail == "the device does not close"
    finally:
        hung.release.set()
    bench.run_until_heard()
    assert len(bench.devices) == 2
    assert bench.input.health.state is AudioState.RUNNING


def test_a_device_is_closed_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    bench = Bench()
    bench.run(0.2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        bench.input.mute(True)
    assert bench.devices[0].closed
    bench.input.mute(False)
    assert bench.run(0.5)


def test_mute_holds_though_the_device_does_not_close() -> None:
    bench = Bench(make=HungDevice)
    bench.run(0.3)
    (hung,) = bench.devices
    assert isinstance(hung, HungDevice)
    try:
        bench.input.mute(True)
        assert bench.run(1.0) == []
        assert bench.input.health.state is AudioState.MUTED
    finally:
        hung.release.set()


@pytest.mark.parametrize(
    ("period_ms", "rate_hz", "then"), [(None, 16_000, 30), (None, 48_000, 20), (10, 16_000, 10)]
)
def test_a_delivery_is_a_block_unless_somebody_says_otherwise(
    period_ms: int | None, rate_hz: int, then: int
) -> None:
    assert period_ms_of(AudioSettings(period_ms=period_ms, rate_hz=rate_hz)) == then
