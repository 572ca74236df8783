"""PortAudio capture through sounddevice, for desktops; boards use ALSA directly."""

from __future__ import annotations

import logging
import queue
import time
from typing import Any

import numpy as np

from kwsd.capture.device import (
    DeviceCounters,
    DeviceFormat,
    DeviceLost,
    DeviceRequest,
    DeviceUnavailable,
    Period,
)

log = logging.getLogger(__name__)

_WAITING_PERIODS = 100


class _Library:
    seen = False
    """Whether a device was opened, or tried, in this process."""


def _look_again(sounddevice: Any) -> None:
    """Let PortAudio list devices anew: it does so once, so what is plugged in later is not there.

    sounddevice has no public call for it. No stream is open here: an input closes its device
    before it opens one.
    """
    try:
        sounddevice._terminate()
        sounddevice._initialize()
    except (AttributeError, sounddevice.PortAudioError) as error:
        log.warning("devices are those of the start of kwsd: %s", error)


class PortAudioDevice:
    """An open PortAudio input.

    Parameters
    ----------
    request : DeviceRequest
        ``name`` is a part of the device's name, or ``default``.

    Raises
    ------
    DeviceUnavailable
        sounddevice or PortAudio is missing, or the device cannot be opened so.
    """

    def __init__(self, request: DeviceRequest) -> None:
        try:
            import sounddevice
        except (ImportError, OSError) as error:
            raise DeviceUnavailable(
                f"audio.backend = portaudio cannot be used: {error}; install kwsd[audio] "
                "and libportaudio2",
                "library",
            ) from None
        if _Library.seen:
            _look_again(sounddevice)
        _Library.seen = True
        frames = max(1, request.rate_hz * request.period_ms // 1000)
        self.format = DeviceFormat("S16_LE", request.channels, request.rate_hz, frames, 0, False)
        self._periods: queue.Queue[tuple[bytes, int, bool, int]] = queue.Queue(_WAITING_PERIODS)
        self._position = self._overruns = self._dropped = self._frames = 0
        self._next_ns = 0
        self._hole = False
        self._ended = False
        self._stream: Any = None
        try:
            self._stream = sounddevice.RawInputStream(
                device=None if request.name == "default" else request.name,
                channels=request.channels,
                samplerate=request.rate_hz,
                dtype="int16",
                blocksize=frames,
                latency=request.period_ms * request.periods / 1000,
                callback=self._deliver,
                finished_callback=self._finished,
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            if self._stream is not None:
                self.close()  # opened and not started: it would keep the device from the next try
            raise DeviceUnavailable(
                f"audio.device = {request.name} ({request.channels} channels, "
                f"{request.rate_hz} Hz) cannot be opened: {' '.join(str(error).split())}; "
                "python3 -m sounddevice lists the names",
                "missing",
            ) from None

    def read(self, timeout_s: float) -> Period | None:
        """The next delivery; None if there is none in time."""
        try:
            data, first, gap, stamp_ns = self._periods.get(timeout=timeout_s)
        except queue.Empty:
            if self._ended:
                raise DeviceLost("PortAudio ended the stream") from None
            return None
        samples = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
        return Period(samples.reshape(-1, self.format.channels), first, stamp_ns, gap)

    def counters(self) -> DeviceCounters:
        """Since open."""
        return DeviceCounters(self._overruns, self._dropped, self._frames)

    def close(self) -> None:
        """Stop; may be called twice."""
        self._stream.close(ignore_errors=True)

    def _deliver(self, data: Any, frames: int, when: Any, status: Any) -> None:
        # The converter's time is on PortAudio's clock; arrival is what this process can compare.
        now_ns = time.monotonic_ns()
        stamp_ns = now_ns - frames * 1_000_000_000 // self.format.rate_hz
        if status.input_overflow:
            self._overruns += 1
            self._hole = True
            if self._next_ns:  # PortAudio does not say how much was lost
                late_ns = max(0, stamp_ns - self._next_ns)
                self._position += late_ns * self.format.rate_hz // 1_000_000_000
        self._next_ns = now_ns
        first, self._position = self._position, self._position + frames
        self._frames += frames
        try:
            self._periods.put_nowait((bytes(data), first, self._hole, stamp_ns))
            self._hole = False
        except queue.Full:
            self._dropped += 1
            self._hole = True

    def _finished(self) -> None:
        self._ended = True
