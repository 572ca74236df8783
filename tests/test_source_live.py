"""Live input over a device that the test plays: holes, losses, mute."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np
import pytest

from kwsd.capture.device import (
    DeviceCounters,
    DeviceFormat,
    DeviceLost,
    DeviceUnavailable,
    Period,
)
from kwsd.capture.health import AudioState
from kwsd.config_schema import AudioSettings
from kwsd.daemon.input import period_ms_of
from kwsd.source.channels import ChannelMap
from kwsd.source.live import LiveInput, LiveSettings

RATE_HZ = 16_000
PERIOD = 320


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


class FakeDevice:
    """Delivers a ramp, one period a read; the script says what else happens."""

    format = DeviceFormat("S16_LE", 3, RATE_HZ, PERIOD, 0, False)

    def __init__(self, clock: FakeClock, script: deque[str]) -> None:
        self._clock = clock
        self._script = script
        self._count = 0
        self.closed = False

    def read(self, timeout_s: float) -> Period | None:
        what = self._script.popleft() if self._script else "audio"
        if what == "lost":
            raise DeviceLost("unplugged")
        if what == "nothing":
            self._clock.now_s += timeout_s
            return None
        if what == "gap":
            self._clock.now_s += 0.5
        self._clock.now_s += PERIOD / RATE_HZ
        start = self._count
        self._count += PERIOD
        ramp = (np.arange(start, start + PERIOD) % 1000 / 1000.0).astype(np.float32)
        return Period(np.stack([ramp, -ramp, ramp / 2], 1), start, 0, what == "gap")

    def counters(self) -> DeviceCounters:
        return DeviceCounters(overruns=1, frames=self._count)

    def close(self) -> None:
        self.closed = True


class Bench:
    def __init__(self, *script: str, discard_ms: int = 0) -> None:
        self.clock = FakeClock()
        self.script = deque(script)
        self.devices: list[FakeDevice] = []
        self.refusals = 0
        self.input = LiveInput(
            self._open,
            LiveSettings("fake", RATE_HZ, 3, discard_ms),
            ChannelMap((0, 1), 2),
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def _open(self) -> FakeDevice:
        if self.refusals > 0:
            self.refusals -= 1
            raise DeviceUnavailable("not there", "missing")
        self.devices.append(FakeDevice(self.clock, self.script))
        return self.devices[-1]

    def run(self, seconds: float) -> list:
        until_s = self.clock.now_s + seconds
        blocks = []
        while self.clock.now_s < until_s:
            blocks += self.input.read(0.1)
        return blocks


def test_blocks_follow_each_other_and_channels_are_mapped() -> None:
    bench = Bench()
    blocks = bench.run(1.0)
    assert [block.start_sample for block in blocks] == list(range(0, 480 * len(blocks), 480))
    assert not any(block.gap for block in blocks)
    mics = np.concatenate([block.mics for block in blocks], axis=1)
    reference = np.concatenate([block.reference for block in blocks])
    ramp = (np.arange(mics.shape[1]) % 1000 / 1000.0).astype(np.float32)
    np.testing.assert_array_equal(mics[0], ramp)
    np.testing.assert_array_equal(mics[1], -ramp)
    np.testing.assert_array_equal(reference, ramp / 2)
    assert bench.input.health.state is AudioState.RUNNING


def test_a_hole_is_marked_and_moves_the_counter_by_what_is_missing() -> None:
    bench = Bench(*["audio"] * 10, "gap")
    blocks = bench.run(2.0)
    marked = [index for index, block in enumerate(blocks) if block.gap]
    assert len(marked) == 1
    before, after = blocks[marked[0] - 1], blocks[marked[0]]
    missing = after.start_sample - (before.start_sample + 480)
    # Half a second, and what waited for its block when the hole came.
    assert abs(missing - 8000) <= 480
    assert bench.input.counters.gaps == 1


def test_a_lost_device_is_opened_again_and_the_counter_goes_on() -> None:
    bench = Bench(*["audio"] * 20, "lost")
    bench.refusals = 0
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
    assert sum(block.gap for block in blocks) == 1


def test_a_device_that_delivers_nothing_is_opened_again() -> None:
    bench = Bench(*["audio"] * 5, *["nothing"] * 30)
    bench.run(5.0)
    assert len(bench.devices) >= 2


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


def test_the_first_milliseconds_are_thrown_away() -> None:
    bench = Bench(discard_ms=100)
    blocks = bench.run(0.5)
    assert blocks[0].mics[0, 0] == np.float32(1600 % 1000 / 1000.0)


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


class HungDevice(FakeDevice):
    """A driver that holds whoever closes it."""

    release = threading.Event()

    def close(self) -> None:
        self.release.wait()
        super().close()


class HungBench(Bench):
    def _open(self) -> FakeDevice:
        super()._open()
        self.devices[-1] = HungDevice(self.clock, self.script)
        return self.devices[-1]


def test_a_device_that_does_not_close_is_reported_and_not_opened_twice() -> None:
    bench = HungBench(*["audio"] * 10, "lost")
    try:
        bench.run(0.3)
        # The reads came back though nothing has let the device go.
        assert not bench.devices[0].closed
        assert bench.input.health.state is AudioState.LOST
        bench.run(3.0)
        assert len(bench.devices) == 1
        assert bench.input.health.detail == "the device does not close"
        bench.devices[0].release.set()
        bench.input.close()
        deadline_s = time.monotonic() + 10.0
        while not bench.devices[0].closed and time.monotonic() < deadline_s:
            time.sleep(0.001)
        bench.run(4.0)
    finally:
        HungDevice.release.set()
    assert len(bench.devices) == 2
    assert bench.input.health.state is AudioState.RUNNING


def test_mute_holds_though_the_device_does_not_close() -> None:
    bench = HungBench()
    HungDevice.release.clear()
    try:
        bench.run(0.3)
        bench.input.mute(True)
        assert bench.run(1.0) == []
        assert bench.input.health.state is AudioState.MUTED
    finally:
        HungDevice.release.set()


@pytest.mark.parametrize(
    ("period_ms", "rate_hz", "then"), [(None, 16_000, 30), (None, 48_000, 20), (10, 16_000, 10)]
)
def test_a_delivery_is_a_block_unless_somebody_says_otherwise(
    period_ms: int | None, rate_hz: int, then: int
) -> None:
    assert period_ms_of(AudioSettings(period_ms=period_ms, rate_hz=rate_hz)) == then


class GatheringDevice(FakeDevice):
    """Delivers what has become complete by the clock, as a capture thread's ring does."""

    def __init__(self, clock: FakeClock, script: deque[str]) -> None:
        super().__init__(clock, script)
        self._from_s = clock.now_s
        self._taken_s = 0.0

    def read(self, timeout_s: float) -> Period | None:
        due_s = self._from_s + self._taken_s + PERIOD / RATE_HZ
        if due_s > self._clock.now_s + timeout_s + 1e-9:
            self._clock.now_s += timeout_s
            return None
        what = self._script.popleft() if self._script else "audio"
        if what == "lost":
            raise DeviceLost("unplugged")
        hole_s = 0.5 if what == "gap" else 0.0
        self._clock.now_s = max(self._clock.now_s, due_s + hole_s)
        self._taken_s += PERIOD / RATE_HZ + hole_s
        start = self._count
        self._count += PERIOD
        ramp = (np.arange(start, start + PERIOD) % 1000 / 1000.0).astype(np.float32)
        return Period(np.stack([ramp, -ramp, ramp / 2], 1), start, 0, what == "gap")


class GatheringBench(Bench):
    def _open(self) -> FakeDevice:
        self.devices.append(GatheringDevice(self.clock, self.script))
        return self.devices[-1]


def test_a_rest_takes_what_has_gathered_in_one_read() -> None:
    bench = GatheringBench()
    reads = [bench.input.read(0.1, rest_s=0.09) for _ in range(20)]
    blocks = [block for some in reads for block in some]
    assert max(len(some) for some in reads) >= 3
    assert bench.clock.now_s - 100.0 < 20 * 0.13
    starts = [block.start_sample for block in blocks]
    assert starts == list(range(0, 480 * len(blocks), 480))
    # Nothing is left behind for longer than the rest and a delivery.
    assert bench.clock.now_s - 100.0 - len(blocks) * 0.03 < 0.09 + 0.06


def test_a_hole_within_what_has_gathered_moves_the_counter_by_what_is_missing() -> None:
    bench = GatheringBench(*["audio"] * 13, "gap", *["audio"] * 30)
    blocks = []
    while bench.clock.now_s < 101.6:
        blocks += bench.input.read(0.1, rest_s=0.09)
    marked = [index for index, block in enumerate(blocks) if block.gap]
    assert len(marked) == 1
    before, after = blocks[marked[0] - 1], blocks[marked[0]]
    assert abs(after.start_sample - before.start_sample - 480 - 8000) <= 480


def test_audio_that_gathered_before_the_device_was_lost_is_still_heard() -> None:
    bench = GatheringBench(*["audio"] * 4, "lost")
    blocks = bench.input.read(0.1, rest_s=0.2)
    assert len(blocks) == 2
    assert bench.input.health.state is AudioState.LOST
    assert bench.devices[0].closed
