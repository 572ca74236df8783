"""A daemon without audio: the real bus and control socket, and a pre-roll that counts."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kwsd.daemon.control import Attachment, ControlServer
from kwsd.errors import UsageError
from kwsd.sink.zmq import BusSink

RATE_HZ = 16_000


def voice(first: int, count: int) -> bytes:
    """The fake's audio: each sample tells its position."""
    return (np.arange(first, first + count) % 30_000).astype("<i2").tobytes()


class FakeKwsd:
    """Bus and control socket in a thread of their own.

    Parameters
    ----------
    folder : Path
        Short; for the sockets.
    """

    def __init__(self, folder: Path, **bus: Any) -> None:
        self.bus_endpoint = f"ipc://{folder}/e"
        self.control_endpoint = f"ipc://{folder}/c"
        self.end_sample = 0
        """How far the stream has come."""
        self.asked: list[int] = []
        """Positions asked for."""
        self.beating = True
        self._bus = BusSink(self.bus_endpoint, **bus)
        self._control = ControlServer(
            self.control_endpoint, {"status": self._status, "preroll": self._preroll}
        )
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def emit(self, event: dict[str, Any]) -> None:
        """Publish an event."""
        self._todo.put(lambda: self._bus.emit(event))

    def raw(self, *frames: bytes) -> None:
        """Publish anything."""
        self._todo.put(lambda: self._bus._send(self._bus._sockets[0], list(frames)))

    def wake(self, name: str = "computer", end_s: float = 1.0) -> None:
        """Publish a wake."""
        self.emit(
            {
                "v": 1,
                "type": "wake",
                "name": name,
                "score": 0.91,
                "threshold": 0.6,
                "onset_s": end_s - 0.5,
                "end_s": end_s,
                "detected_s": end_s + 0.1,
                "sample": round((end_s + 0.1) * RATE_HZ),
                "model": name,
                "model_version": "1",
                "runtime": "litert",
                "snr_db": None,
                "doa_deg": None,
                "echo": {"active": False, "erle_db": None},
                "id": "0123456789abcdef",
            }
        )

    def audio(self, state: str, detail: str = "") -> None:
        """Publish a state of the input."""
        self.emit(
            {
                "v": 1,
                "type": "audio.state",
                "source": "virtual",
                "microphones": 2,
                "reference": True,
                "sample_rate_hz": RATE_HZ,
                "state": state,
                "detail": detail,
            }
        )

    def close(self) -> None:
        """End it."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        beat_s = 0.0
        while not self._done.is_set():
            try:
                self._todo.get(timeout=0.01)()
            except queue.Empty:
                pass
            self._bus.serve()
            self._control.serve()
            if self.beating and time.monotonic() - beat_s > 0.2:
                beat_s = time.monotonic()
                self._bus.emit(
                    {
                        "v": 1,
                        "type": "health.beat",
                        "audio": "running",
                        "ready": True,
                        "wakes": 0,
                        "overruns": 0,
                        "dropped_periods": 0,
                        "openings": 1,
                        "gaps": 0,
                    }
                )
        self._bus.close()
        self._control.close()

    def _status(self, request: Mapping[str, Any]) -> object:
        return {
            "keywords": [
                {"keyword": "computer", "model": "computer", "version": "1", "enabled": True},
                {"keyword": "hey_kws", "model": "hey_kws", "version": "2", "enabled": False},
            ]
        }

    def _preroll(self, request: Mapping[str, Any]) -> object:
        first = request.get("from_sample")
        if not isinstance(first, int):
            raise UsageError("from_sample is asked for here")
        self.asked.append(first)
        first = min(first, self.end_sample)
        count = min(self.end_sample - first, 2 * RATE_HZ)
        return Attachment(
            {"first_sample": first, "next_sample": first + count, "lost_samples": 0},
            voice(first, count),
        )
