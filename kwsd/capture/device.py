"""Capture device: the protocol of what delivers periods, and why one cannot be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kwsd.block import FloatArray
from kwsd.errors import RuntimeUnavailable


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What is asked of a device."""

    name: str
    """ALSA name such as ``hw:CARD=seeed2micvoicec`` or a PortAudio name."""

    channels: int
    """Channels to open; the channel map chooses among them."""

    rate_hz: int
    """Sample rate of the device."""

    period_ms: int = 20
    """Length of one delivery."""

    periods: int = 8
    """Deliveries that the device's own buffer holds."""

    realtime_priority: int = 0
    """SCHED_FIFO priority of the capture thread, 0 for none."""


@dataclass(frozen=True, slots=True)
class DeviceFormat:
    """What a device gave."""

    sample_format: str
    channels: int
    rate_hz: int
    period_frames: int
    buffer_frames: int
    realtime: bool


@dataclass(frozen=True, slots=True)
class Period:
    """One delivery."""

    samples: FloatArray
    """float32 [frames, channels], full scale 1.0."""

    first_frame: int
    """Position since open; holes are counted."""

    monotonic_ns: int
    """Clock at the first frame, 0 where the device cannot say."""

    gap: bool
    """True if frames are missing before these."""


@dataclass(frozen=True, slots=True)
class DeviceCounters:
    """What went wrong since open."""

    overruns: int = 0
    dropped_periods: int = 0
    frames: int = 0


class DeviceLost(Exception):
    """The device is gone or stopped working; it may come back."""


class DeviceUnavailable(RuntimeUnavailable):
    """The device cannot be opened as asked."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
        """One word: missing, busy, permission, format, library."""


class CaptureDevice(Protocol):
    """An open device."""

    format: DeviceFormat

    def read(self, timeout_s: float) -> Period | None:
        """The next delivery; None if there is none in time.

        Raises
        ------
        DeviceLost
            There will be none.
        """

    def counters(self) -> DeviceCounters:
        """Since open."""

    def close(self) -> None:
        """Stop; may be called twice."""
