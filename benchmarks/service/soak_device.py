"""A capture device and a clock of a simulated day, for `kwsd.source.live.LiveInput`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.service.soak_world import Fault, Kind
from kwsd.block import SAMPLE_RATE_HZ, FloatArray
from kwsd.capture.device import (
    DeviceCounters,
    DeviceFormat,
    DeviceLost,
    DeviceUnavailable,
    Period,
)

PERIOD = 320
CHANNELS = 3
AWAY = (Kind.MUTE, Kind.LOSS)
"""Faults during which there is nothing that the service could hear."""


class Day:
    """Simulated time: a system clock, and a position in what there is to hear.

    Parameters
    ----------
    cycle : ndarray, float32 [samples, channels]
        Repeats for ever.
    faults : sequence of Fault
        In order.
    seconds : float
        When the day ends.
    on_event : callable
        Told of faults that are none of the device's: reload, mute, churn; of a mute's end, too.
    on_end : callable
        Called once.
    """

    def __init__(
        self,
        cycle: FloatArray,
        faults: Sequence[Fault],
        seconds: float,
        on_event: Callable[[Fault, bool], None],
        on_end: Callable[[], None],
    ) -> None:
        self._cycle = cycle
        self._coming = list(reversed(faults))
        self._seconds = seconds
        self._on_event, self._on_end = on_event, on_end
        self._clock_s = 1000.0
        self._ppm = 0.0
        self._ended = False
        self.position_s = 0.0
        """Of the device's converter, in seconds of audio."""

        self.now: Fault | None = None
        """What is wrong at this moment."""

        self.away_until_s = 0.0
        """Up to here nothing could be heard, through no fault of the service."""

        self._heard_s = 0.0
        self.deafest_s = 0.0
        """Longest time that audio was there and did not reach the service."""

        self.deafest_at_s = 0.0

    def __call__(self) -> float:
        """Monotonic seconds."""
        return self._clock_s

    def sleep(self, seconds: float) -> None:
        """Waiting costs nothing here."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let system time pass."""
        self._clock_s += seconds
        self.position_s += seconds * (1.0 + self._ppm * 1e-6)
        self._happen()

    def _happen(self) -> None:
        if self.now is not None and self.position_s >= self.now.end_s:
            over, self.now = self.now, None
            if over.kind is Kind.MUTE:
                self._on_event(over, False)
            if over.kind in AWAY:
                self.away_until_s = self.position_s
        while self.now is None and self._coming and self.position_s >= self._coming[-1].at_s:
            fault = self._coming.pop()
            if fault.kind in AWAY:
                # What was not heard up to here is not forgiven by what comes.
                self._deaf_up_to(fault.at_s)
            if fault.seconds > 0:
                self.now = fault
            if fault.kind is Kind.DRIFT:
                self._ppm = fault.ppm
            if fault.kind in (Kind.RELOAD, Kind.MUTE, Kind.CHURN):
                self._on_event(fault, True)
        if not self._ended and self.position_s >= self._seconds:
            self._ended = True
            self._on_end()

    def heard(self) -> None:
        """Audio reached the service."""
        self._deaf_up_to(self.position_s)
        self._heard_s = self.position_s

    def over(self) -> None:
        """The service has stopped: what it had not heard until then counts, too."""
        if self.now is None or self.now.kind not in AWAY:
            self._deaf_up_to(self.position_s)

    def _deaf_up_to(self, position_s: float) -> None:
        deaf_s = position_s - max(self._heard_s, self.away_until_s)
        if deaf_s > self.deafest_s:
            self.deafest_s, self.deafest_at_s = deaf_s, position_s

    def wait_for(self, position_s: float, timeout_s: float) -> bool:
        """Let time pass until the converter is there; False if that takes longer."""
        wait_s = (position_s - self.position_s) / (1.0 + self._ppm * 1e-6)
        self.advance(min(max(0.0, wait_s), timeout_s))
        return wait_s <= timeout_s

    def period(self, position_s: float) -> FloatArray:
        """What the converter heard from a position on."""
        start = round(position_s * SAMPLE_RATE_HZ)
        at = np.arange(start, start + PERIOD) % len(self._cycle)
        return self._cycle[at]


class DayDevice:
    """What is opened; raises `DeviceUnavailable` while the device is away."""

    format = DeviceFormat("S16_LE", CHANNELS, SAMPLE_RATE_HZ, PERIOD, 8 * PERIOD, False)

    def __init__(self, day: Day) -> None:
        if day.now is not None and day.now.kind is Kind.LOSS:
            raise DeviceUnavailable("the device is away", "missing")
        self._day = day
        # A device that is opened while another stalls is a fresh one.
        self._lived_through = day.now
        self._overruns = 0
        self._frames = 0
        self._stalled = False
        self._taken_s = day.position_s
        self.closed = False

    def read(self, timeout_s: float) -> Period | None:
        """The next delivery, or what goes wrong; what came during a rest waits."""
        fault = self._day.now
        gap = False
        if fault is not None and fault is not self._lived_through:
            if fault.kind is Kind.LOSS:
                raise DeviceLost("unplugged")
            self._stalled |= fault.kind is Kind.STALL
            if fault.kind is Kind.XRUN:
                self._lived_through = fault
                self._overruns += 1
                self._day.advance(fault.seconds)
                self._taken_s = self._day.position_s
                gap = True
        if self._stalled:
            self._day.advance(timeout_s)
            return None
        if not self._day.wait_for(self._taken_s + PERIOD / SAMPLE_RATE_HZ, timeout_s):
            return None
        zero = fault is not None and fault.kind is Kind.ZERO
        samples = self._day.period(self._taken_s)
        self._taken_s += PERIOD / SAMPLE_RATE_HZ
        first, self._frames = self._frames, self._frames + PERIOD
        return Period(np.zeros_like(samples) if zero else samples, first, 0, gap)

    def counters(self) -> DeviceCounters:
        """Since open."""
        return DeviceCounters(overruns=self._overruns, frames=self._frames)

    def close(self) -> None:
        """Nothing to release."""
        self.closed = True
