"""When a sample could be had from the sound server at the earliest: a second, impatient listener.

PulseAudio holds audio back by an amount that depends on who listens. What kwsd is to be charged
with begins when the sample leaves the sound server for the fastest of its clients. So a recorder
with the smallest latency that the server grants listens to the same source, and notes when each
chunk arrives. The lower edge of (arrival - position / rate) is the clock of the source; its scatter
is the server's jitter.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping

import numpy as np

from kwsd.capture.alsa import AlsaDevice
from kwsd.capture.device import DeviceRequest

RATE_HZ = 16_000


class CaptureLag:
    """How much later than at the earliest a capture like the daemon's gets the end of each period.

    An ALSA device of its own, with the daemon's code and period: what ALSA's plugin and the sound
    server add before kwsd has seen anything.

    Parameters
    ----------
    device : str
        ALSA name.
    channels, period_ms : int
        Of it.
    """

    def __init__(self, device: str, channels: int, period_ms: int) -> None:
        self._device = AlsaDevice(DeviceRequest(device, channels, RATE_HZ, period_ms=period_ms))
        self._periods: list[tuple[np.ndarray, float]] = []
        self._stop = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop:
            period = self._device.read(0.1)
            if period is not None:
                self._periods.append((period.samples, time.monotonic()))
        self._device.close()

    def stop(self) -> None:
        """No more audio."""
        self._stop = True
        self._thread.join()

    def samples(self) -> np.ndarray:
        """What was recorded, int16 [n, channels]."""
        whole = np.concatenate([samples for samples, _ in self._periods])
        return np.rint(whole * 32768.0).astype(np.int16)

    def lags_s(self, clock: CaptureClock, shift: int) -> np.ndarray:
        """Of each period; `shift` is the clock's position of this recording's first sample."""
        ends = np.cumsum([len(samples) for samples, _ in self._periods])
        arrived = np.array([when_s for _, when_s in self._periods])
        offset_s = clock.time_s(0)
        return arrived - (ends + shift) / RATE_HZ - offset_s


class CaptureClock:
    """Records a PulseAudio source and the arrival of its chunks.

    Parameters
    ----------
    source : str
        Name of the source.
    channels : int
        Of it.
    environment : mapping
        Reaches the server.
    """

    def __init__(self, source: str, channels: int, environment: Mapping[str, str]) -> None:
        self._frame_bytes = 2 * channels
        self._channels = channels
        command = ["parec", f"--device={source}", "--raw", "--format=s16le", f"--rate={RATE_HZ}"]
        command += [f"--channels={channels}", "--no-remix", "--latency-msec=5"]
        command += ["--process-time-msec=5"]
        self._process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE
        )
        self._data = bytearray()
        self._arrivals: list[tuple[int, float]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while chunk := os.read(pipe, 65_536):
            now_s = time.monotonic()
            self._data += chunk
            self._arrivals.append((len(self._data) // self._frame_bytes, now_s))

    def stop(self) -> None:
        """No more audio."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()

    def samples(self) -> np.ndarray:
        """What was recorded, int16 [n, channels]."""
        whole = len(self._data) // self._frame_bytes * self._frame_bytes
        return np.frombuffer(bytes(self._data[:whole]), "<i2").reshape(-1, self._channels)

    def offsets_s(self) -> np.ndarray:
        """Arrival minus position in seconds, of each chunk: the lower edge is the clock."""
        return np.array([when_s - frames / RATE_HZ for frames, when_s in self._arrivals])

    def time_s(self, sample: int) -> float:
        """Monotonic time at which a sample could be had."""
        # One chunk in a hundred may come early, before the server has settled.
        return sample / RATE_HZ + float(np.quantile(self.offsets_s(), 0.01))
