"""ALSA capture through the native thread."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from pathlib import Path

import numpy as np

from kwsd.block import FloatArray
from kwsd.capture import native
from kwsd.capture.device import (
    DeviceCounters,
    DeviceFormat,
    DeviceLost,
    DeviceRequest,
    DeviceUnavailable,
    Period,
)

log = logging.getLogger(__name__)

_FORMATS = {1: "S16_LE", 2: "S32_LE", 3: "S24_3LE"}
_SAMPLE_BYTES = {"S16_LE": 2, "S32_LE": 4, "S24_3LE": 3}

RING_S = 4.0
"""Audio that waits for a busy daemon before it is dropped."""

_REASONS = {
    errno.ENOENT: "missing",
    errno.ENODEV: "missing",
    errno.ENXIO: "missing",
    errno.EBUSY: "busy",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.EINVAL: "format",
    errno.ENOSYS: "library",
}

_NEXT_STEPS = {
    "missing": "kwsd --list-devices shows what is there",
    "busy": "another program holds it: stop that, or set up dsnoop and name it here",
    # The unit's DeviceAllow= knows only drivers that were loaded before its start.
    "permission": "add the user to the group audio; in the service, for a card that came after its "
    "start: systemctl restart kwsd",
    "format": "set audio.channels and audio.rate_hz to what the card has, "
    "see arecord --dump-hw-params",
    "library": "install libasound2",
}


class AlsaDevice:
    """An open ALSA device.

    Parameters
    ----------
    request : DeviceRequest
        Device, channels and rate.

    Raises
    ------
    DeviceUnavailable
        It cannot be opened so; the message says why and what to do.
    RuntimeUnavailable
        The capture library is not there.
    """

    def __init__(self, request: DeviceRequest) -> None:
        self._library = native.load_library()
        self._handle: int | None = None
        period = max(1, request.rate_hz * request.period_ms // 1000)
        asked = native.Request(
            channels=request.channels,
            rate_hz=request.rate_hz,
            period_frames=period,
            periods=request.periods,
            ring_periods=max(2, int(RING_S * request.rate_hz / period)),
            realtime=request.realtime_priority,
        )
        error = ctypes.c_int32()
        message = ctypes.create_string_buffer(200)
        handle = self._library.kws_capture_open(
            os.fsencode(request.name), asked, error, message, len(message)
        )
        if not handle:
            raise _unavailable(request, -error.value, message.value.decode(errors="replace"))
        self._handle = handle
        given = native.Format()
        self._library.kws_capture_describe(handle, given)
        self.format = DeviceFormat(
            _FORMATS[given.format],
            given.channels,
            given.rate_hz,
            given.period_frames,
            given.buffer_frames,
            bool(given.is_realtime),
        )
        if request.realtime_priority > 0 and not self.format.realtime:
            log.warning(
                "audio.realtime_priority = %d is refused (LimitRTPRIO= of the unit, ulimit -r by "
                "hand): audio is captured without",
                request.realtime_priority,
            )
        size = given.period_frames * given.channels * _SAMPLE_BYTES[self.format.sample_format]
        self._buffer = np.zeros(size, np.uint8)
        self._address = self._buffer.ctypes.data

    def read(self, timeout_s: float) -> Period | None:
        """The next delivery; None if there is none in time."""
        if self._handle is None:
            raise DeviceLost("device is closed")
        info = native.Period()
        result = self._library.kws_capture_read(
            self._handle, self._address, round(timeout_s * 1000), info
        )
        if result == native.READ_TIMEOUT:
            return None
        if result == native.READ_ENDED:
            code = -self._count().error
            raise DeviceLost(os.strerror(code) if code > 0 else "capture ended")
        sample_format = self.format.sample_format
        used = info.frames * self.format.channels * _SAMPLE_BYTES[sample_format]
        samples = decode(self._buffer[:used], sample_format).reshape(-1, self.format.channels)
        return Period(samples, info.first_frame, info.monotonic_ns, bool(info.gap))

    def counters(self) -> DeviceCounters:
        """Since open."""
        if self._handle is None:
            return DeviceCounters()
        counted = self._count()
        return DeviceCounters(counted.overruns, counted.dropped_periods, counted.frames)

    def close(self) -> None:
        """Stop; may be called twice."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._library.kws_capture_close(handle)

    def _count(self) -> native.Counters:
        counted = native.Counters()
        self._library.kws_capture_count(self._handle, counted)
        return counted


def decode(data: np.ndarray, sample_format: str) -> FloatArray:
    """Little-endian samples as float32, full scale 1.0.

    Parameters
    ----------
    data : ndarray, uint8 [bytes]
        Whole samples.
    sample_format : str
        S16_LE, S32_LE or S24_3LE.
    """
    if sample_format == "S16_LE":
        return data.view("<i2").astype(np.float32) / np.float32(2**15)
    if sample_format == "S32_LE":
        return data.view("<i4").astype(np.float32) / np.float32(2**31)
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = data.reshape(-1, 3)
    return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)


def _unavailable(request: DeviceRequest, code: int, message: str) -> DeviceUnavailable:
    reason = _REASONS.get(code, "format" if code == 0 else "missing")
    # libasound passes over cards that it may not look at, and says that there is none.
    if reason == "missing" and no_card_may_be_used():
        reason = "permission"
    next_step = _NEXT_STEPS[reason]
    if code == errno.ECONNREFUSED:
        next_step = "its sound server does not run: start it, or name a card, see --list-devices"
    return DeviceUnavailable(
        f"audio.device = {request.name} ({request.channels} channels, {request.rate_hz} Hz) "
        f"cannot be opened: {message}; {next_step}",
        reason,
    )


def no_card_may_be_used(devices: Path = Path("/dev/snd")) -> bool:
    """Whether there are sound cards, and this user may open none of them."""
    cards = list(devices.glob("controlC*"))
    wanted = os.R_OK | os.W_OK
    return bool(cards) and not any(os.access(c, wanted, effective_ids=True) for c in cards)
