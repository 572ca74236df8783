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

RATE_HZ = 16_000


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
