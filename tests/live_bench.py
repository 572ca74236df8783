"""A live input over devices that the test plays, on a clock that stands still between them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from kwsd.block import Block, FloatArray
from kwsd.capture.device import (
    DeviceCounters,
    DeviceFormat,
    DeviceLost,
    DeviceUnavailable,
    Period,
)
from kwsd.errors import RuntimeUnavailable
from kwsd.source.channels import ChannelMap
from kwsd.source.live import LiveInput, LiveSettings

RATE_HZ = 16_000
PERIOD_MS = 20
RAMP_MS = 62.5
"""Length of the ramp that a device repeats, from 0 to 1."""

RING_S = 4.0
"""What waits in a `GatheringDevice` before it is dropped."""


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


def ramp_of(start: int, samples: int, rate_hz: int = RATE_HZ) -> FloatArray:
    """Three channels of a device's audio from a frame on, float32 [samples, 3]."""
    steps = round(rate_hz * RAMP_MS / 1000)
    ramp = (np.arange(start, start + samples) % steps / steps).astype(np.float32)
    return np.stack([ramp, -ramp, ramp / 2], 1)


class FakeDevice:
    """Delivers a ramp, one period a read; the script says what else happens."""

    def __init__(self, clock: FakeClock, script: deque[str], rate_hz: int = RATE_HZ) -> None:
        self._clock = clock
        self.opened_s = clock.now_s
        self.script = script
        self._rate_hz = rate_hz
        self._period = rate_hz * PERIOD_MS // 1000
        self.format = DeviceFormat("S16_LE", 3, rate_hz, self._period, 0, False)
        self._count = 0
        self._lost_frames = 0
        self.closed = False

    def read(self, timeout_s: float) -> Period | None:
        what = self.script.popleft() if self.script else "audio"
        if what == "lost":
            raise DeviceLost("unplugged")
        if what == "nothing":
            self._clock.now_s += timeout_s
            return None
        if what == "gap":
            self._clock.now_s += 0.5
            self._lost_frames += self._rate_hz // 2
        self._clock.now_s += self._period / self._rate_hz
        return self._ramp(self._period, what == "gap")

    def _ramp(self, samples: int, gap: bool) -> Period:
        start = self._count
        self._count += samples
        first = start + self._lost_frames
        return Period(ramp_of(start, samples, self._rate_hz), first, 0, gap)

    def counters(self) -> DeviceCounters:
        return DeviceCounters(overruns=1, frames=self._count)

    def close(self) -> None:
        self.closed = True


class HungDevice(FakeDevice):
    """A driver that holds whoever closes it."""

    def __init__(self, clock: FakeClock, script: deque[str], rate_hz: int = RATE_HZ) -> None:
        super().__init__(clock, script, rate_hz)
        self.release = threading.Event()

    def close(self) -> None:
        self.release.wait()
        super().close()


class GatheringDevice(FakeDevice):
    """Delivers what has become complete by the clock, as a capture thread's ring does.

    What comes while the ring is full is dropped: the hole lies behind what waits in it.
    """

    def __init__(
        self,
        clock: FakeClock,
        script: deque[str],
        rate_hz: int = RATE_HZ,
        period_ms: int = PERIOD_MS,
    ) -> None:
        super().__init__(clock, script, rate_hz)
        self._period = rate_hz * period_ms // 1000
        self._from_s = clock.now_s
        self._taken_s = 0.0
        self.dropped_s = 0.0
        """Lost since nobody took it in time."""

        self._hole_at_s = float("inf")
        self._back_s = 0.0

    @property
    def waiting_s(self) -> float:
        """Audio in the ring."""
        return self._clock.now_s - self._from_s - self._taken_s

    def read(self, timeout_s: float) -> Period | None:
        over_s = 0.0
        if self.waiting_s > RING_S and self._hole_at_s == float("inf"):
            self._hole_at_s = self._taken_s + RING_S
            self._back_s = self._clock.now_s - self._from_s
        if self._taken_s >= self._hole_at_s - 1e-9:
            over_s = self._back_s - self._taken_s
            self._taken_s = self._back_s
            self._hole_at_s = float("inf")
            self._lost_frames += round(over_s * self._rate_hz)
            self.dropped_s += over_s
        due_s = self._from_s + self._taken_s + self._period / self._rate_hz
        if due_s > self._clock.now_s + timeout_s + 1e-9:
            self._clock.now_s += timeout_s
            return None
        what = self.script.popleft() if self.script else "audio"
        if what == "lost":
            raise DeviceLost("unplugged")
        hole_s = 0.5 if what == "gap" else 0.0
        self._lost_frames += round(hole_s * self._rate_hz)
        self._clock.now_s = max(self._clock.now_s, due_s + hole_s)
        self._taken_s += self._period / self._rate_hz + hole_s
        return self._ramp(self._period, what == "gap" or over_s > 0.0)


MakeDevice = Callable[[FakeClock, "deque[str]", int], FakeDevice]


class Bench:
    """Inputs of one device that can be open only once."""

    def __init__(
        self,
        *script: str,
        make: MakeDevice = FakeDevice,
        discard_ms: int = 0,
        rate_hz: int = RATE_HZ,
    ) -> None:
        self.clock = FakeClock()
        self.rate_hz = rate_hz
        self.script = deque(script)
        self.make = make
        self.devices: list[FakeDevice] = []
        self.refusals = 0
        self.refusal: RuntimeUnavailable = DeviceUnavailable("not there", "missing")
        self.input = self.another(discard_ms)

    def another(self, discard_ms: int = 0) -> LiveInput:
        """An input that is not opened yet."""
        return LiveInput(
            self._open,
            LiveSettings("fake", self.rate_hz, 3, discard_ms),
            ChannelMap((0, 1), 2),
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def _open(self) -> FakeDevice:
        assert all(device.closed for device in self.devices)
        if self.refusals > 0:
            self.refusals -= 1
            raise self.refusal
        self.devices.append(self.make(self.clock, self.script, self.rate_hz))
        return self.devices[-1]

    def run(self, seconds: float) -> list[Block]:
        until_s = self.clock.now_s + seconds
        blocks = []
        while self.clock.now_s < until_s:
            blocks += self.input.read(0.1)
        return blocks

    def run_until_heard(self) -> list[Block]:
        """The first blocks, once a thread that closes a device has come to its end."""
        deadline_s = time.monotonic() + 10.0
        while time.monotonic() < deadline_s:
            if blocks := self.run(0.1):
                return blocks
            time.sleep(0.001)
        raise AssertionError(f"nothing is heard: {self.input.health.detail}")
