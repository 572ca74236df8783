"""Bus sink: events on a ZeroMQ XPUB socket as ``[topic, json]``.

Topics end in a slash because a subscription is a prefix. A new subscriber gets the last state of
each state topic it asked for, never an old wake; the repeated state keeps its ``seq``. Numbers
count up per topic, so that a subscriber sees what it lost.
"""

from __future__ import annotations

import fcntl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import zmq

from kwsd.errors import BusError
from kwsd.event import SCHEMA_VERSION, Event, to_json
from kwsd.sink.endpoint import check_endpoint

_STATE_PREFIXES = ("audio/state/", "runtime/state/", "health/")
_DIRECTORY_MODE = 0o750


def topic_of(event: Event) -> str:
    """Topic of an event: ``wake/<keyword>/`` for a wake, ``audio/state/`` for ``audio.state``."""
    if event["type"] in ("wake", "sound"):
        return f"{event['type']}/{event['name']}/"
    return str(event["type"]).replace(".", "/") + "/"


class BusSink:
    """Publishes events.

    Parameters
    ----------
    endpoint : str
        See `kwsd.sink.endpoint.check_endpoint`.
    queue_messages : int
        Messages held for a subscriber that does not read.
    linger_ms : int
        Time that `close` may take to deliver the last ones.
    replay : bool
        Marks messages as coming from a recording.

    Raises
    ------
    ConfigError
        The endpoint is not allowed.
    BusError
        The endpoint cannot be bound.
    """

    def __init__(
        self, endpoint: str, queue_messages: int = 100, linger_ms: int = 500, replay: bool = False
    ) -> None:
        check_endpoint(endpoint)
        self.endpoint = endpoint
        self._replay = replay
        self._sequence: dict[str, int] = {}
        self._states: dict[str, list[bytes]] = {}
        self.subscriptions = 0
        """Subscriptions seen and not withdrawn."""
        self._lock = _SocketLock(endpoint)
        self._context: zmq.Context[Any] = zmq.Context(io_threads=1)
        self._socket: zmq.Socket[Any] = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, queue_messages)
        self._socket.setsockopt(zmq.LINGER, linger_ms)
        # Verbose: a second subscriber to a known topic must be seen too, to get the state.
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise BusError(f"bus.endpoint = {endpoint} cannot be bound: {error.strerror}") from None

    def emit(self, event: Event) -> None:
        """Publish one event; never waits for subscribers."""
        self.serve()
        topic = topic_of(event)
        number = self._sequence.get(topic, 0)
        self._sequence[topic] = number + 1
        message: Event = {
            **event,
            "seq": number,
            "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "mono_ns": time.monotonic_ns(),
        }
        if self._replay:
            message["replay"] = True
        frames = [topic.encode(), to_json(message).encode()]
        if topic.startswith(_STATE_PREFIXES):
            self._states[topic] = frames
        self._send(frames)

    def state(self, kind: str, **fields: object) -> None:
        """Publish a state such as ``audio.state``; new subscribers get it again."""
        self.emit({"v": SCHEMA_VERSION, "type": kind, **fields})

    def serve(self) -> None:
        """Answer new subscriptions; cheap, to be called often."""
        while self._socket.poll(0, zmq.POLLIN):
            self._subscribed(self._socket.recv())

    def wait_for_subscriber(self, timeout_s: float) -> bool:
        """Wait until somebody has subscribed; False if nobody did in time."""
        deadline = time.monotonic() + timeout_s
        while self.subscriptions == 0:
            left_ms = int(max(0.0, deadline - time.monotonic()) * 1000)
            if not self._socket.poll(left_ms, zmq.POLLIN):
                return False
            self._subscribed(self._socket.recv())
        return True

    def close(self) -> None:
        """Deliver what is queued within the linger time and release the endpoint."""
        if not self._socket.closed:
            self._socket.close()
            self._context.term()
        self._lock.release()

    def _subscribed(self, message: bytes) -> None:
        joined, prefix = message[:1] == b"\x01", message[1:]
        self.subscriptions += 1 if joined else -1
        if joined:
            for topic, frames in sorted(self._states.items()):
                if topic.encode().startswith(prefix):
                    self._send(frames)

    def _send(self, frames: list[bytes]) -> None:
        try:
            self._socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.ZMQError as error:
            raise BusError(f"event cannot be published: {error.strerror}") from None


class _SocketLock:
    """Keeps two processes off one ``ipc://`` path: the second bind would silently take it over."""

    def __init__(self, endpoint: str) -> None:
        self._file: IO[bytes] | None = None
        self._socket_path: Path | None = None
        scheme, _, path = endpoint.partition("://")
        # A path that starts with @ is an abstract socket: the kernel itself keeps it unique.
        if scheme != "ipc" or path.startswith("@"):
            return
        socket_path = Path(path)
        try:
            socket_path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            self._file = Path(f"{path}.lock").open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise BusError(
                f"bus.endpoint = {endpoint} is in use by another kwsd; stop it or choose another"
            ) from None
        except OSError as error:
            self.release()
            raise BusError(
                f"bus.endpoint = {endpoint} cannot be used: {error.strerror}; "
                "create the folder or set bus.endpoint"
            ) from None
        self._socket_path = socket_path

    def release(self) -> None:
        if self._socket_path is not None:
            # The lock file stays: removing it would let two others lock two different files.
            self._socket_path.unlink(missing_ok=True)
            self._socket_path = None
        if self._file is not None:
            self._file.close()
            self._file = None
