"""PortAudio capture through sounddevice, for desktops; boards use ALSA directly."""

from __future__ import annotations

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

_WAITING_PERIODS = 100


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
        frames = max(1, request.rate_hz * request.period_ms // 1000)
        self.format = DeviceFormat("S16_LE", request.channels, request.rate_hz, frames, 0, False)
        self._periods: queue.Queue[tuple[bytes, bool, int]] = queue.Queue(_WAITING_PERIODS)
        self._position = self._overruns = self._dropped = self._frames = 0
        self._hole = False
        self._ended = False
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
            raise DeviceUnavailable(
                f"audio.device = {request.name} ({request.channels} channels, "
                f"{request.rate_hz} Hz) cannot be opened: {' '.join(str(error).split())}; "
                "kwsd --list-devices shows what is there",
                "missing",
            ) from None

    def read(self, timeout_s: float) -> Period | None:
        """The next delivery; None if there is none in time."""
        try:
            data, gap, stamp_ns = self._periods.get(timeout=timeout_s)
        except queue.Empty:
            if self._ended:
                raise DeviceLost("PortAudio ended the stream") from None
            return None
        samples = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
        first = self._position
        self._position += len(samples) // self.format.channels
        return Period(samples.reshape(-1, self.format.channels), first, stamp_ns, gap)

    def counters(self) -> DeviceCounters:
        """Since open."""
        return DeviceCounters(self._overruns, self._dropped, self._frames)

    def close(self) -> None:
        """Stop; may be called twice."""
        self._stream.close(ignore_errors=True)

    def _deliver(self, data: Any, frames: int, when: Any, status: Any) -> None:
        if status.input_overflow:
            self._overruns += 1
            self._hole = True
        self._frames += frames
        # The converter's time is on PortAudio's clock; arrival is what this process can compare.
        stamp_ns = time.monotonic_ns() - frames * 1_000_000_000 // self.format.rate_hz
        try:
            self._periods.put_nowait((bytes(data), self._hole, stamp_ns))
            self._hole = False
        except queue.Full:
            self._dropped += 1
            self._hole = True

    def _finished(self) -> None:
        self._ended = True
