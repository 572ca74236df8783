"""A live input over devices that the test plays, on a clock that stands still between them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from kwsd.block import Block
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
PERIOD = 320
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


class FakeDevice:
    """Delivers a ramp, one period a read; the script says what else happens."""

    format = DeviceFormat("S16_LE", 3, RATE_HZ, PERIOD, 0, False)

    def __init__(self, clock: FakeClock, script: deque[str]) -> None:
        self._clock = clock
        self._script = script
        self._count = 0
        self._lost_frames = 0
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
            self._lost_frames += RATE_HZ // 2
        self._clock.now_s += PERIOD / RATE_HZ
        return self._ramp(PERIOD, what == "gap")

    def _ramp(self, samples: int, gap: bool) -> Period:
        start = self._count
        self._count += samples
        ramp = (np.arange(start, start + samples) % 1000 / 1000.0).astype(np.float32)
        first = start + self._lost_frames
        return Period(np.stack([ramp, -ramp, ramp / 2], 1), first, 0, gap)

    def counters(self) -> DeviceCounters:
        return DeviceCounters(overruns=1, frames=self._count)

    def close(self) -> None:
        self.closed = True


class HungDevice(FakeDevice):
    """A driver that holds whoever closes it."""

    def __init__(self, clock: FakeClock, script: deque[str]) -> None:
        super().__init__(clock, script)
        self.release = threading.Event()

    def close(self) -> None:
        self.release.wait()
        super().close()


class GatheringDevice(FakeDevice):
    """Delivers what has become complete by the clock, as a capture thread's ring does.

    What comes while the ring is full is dropped: the hole lies behind what waits in it.
    """

    def __init__(self, clock: FakeClock, script: deque[str], period: int = PERIOD) -> None:
        super().__init__(clock, script)
        self._period = period
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
            self._lost_frames += round(over_s * RATE_HZ)
            self.dropped_s += over_s
        due_s = self._from_s + self._taken_s + self._period / RATE_HZ
        if due_s > self._clock.now_s + timeout_s + 1e-9:
            self._clock.now_s += timeout_s
            return None
        what = self._script.popleft() if self._script else "audio"
        if what == "lost":
            raise DeviceLost("unplugged")
        hole_s = 0.5 if what == "gap" else 0.0
        self._lost_frames += round(hole_s * RATE_HZ)
        self._clock.now_s = max(self._clock.now_s, due_s + hole_s)
        self._taken_s += self._period / RATE_HZ + hole_s
        return self._ramp(self._period, what == "gap" or over_s > 0.0)


MakeDevice = Callable[[FakeClock, "deque[str]"], FakeDevice]


class Bench:
    """Inputs of one device that can be open only once."""

    def __init__(self, *script: str, make: MakeDevice = FakeDevice, discard_ms: int = 0) -> None:
        self.clock = FakeClock()
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
            LiveSettings("fake", RATE_HZ, 3, discard_ms),
            ChannelMap((0, 1), 2),
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def _open(self) -> FakeDevice:
        assert all(device.closed for device in self.devices)
        if self.refusals > 0:
            self.refusals -= 1
            raise self.refusal
        self.devices.append(self.make(self.clock, self.script))
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
