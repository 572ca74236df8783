"""Bus sink: events on a ZeroMQ XPUB socket as ``[topic, json]``.

Topics end in a slash because a subscription is a prefix. A new subscriber gets the last state of
each state topic it asked for, never an old wake; the repeated state keeps its ``seq``. Numbers
count up per topic, so that a subscriber sees what it lost.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import zmq

from kwsd.config_schema import BusSettings
from kwsd.errors import BusError
from kwsd.event import SCHEMA_VERSION, Event, to_json
from kwsd.sink.curve import CurveGate, SecuredEndpoint, secured_endpoint
from kwsd.sink.endpoint import check_endpoint, default_endpoint
from kwsd.sink.ipv6 import allow_ipv6
from kwsd.sink.socket_lock import SocketLock

_POLLIN = int(zmq.POLLIN)
SUBSCRIPTIONS_AT_ONCE = 256
"""Taken from a socket in one call: who subscribes in a loop must not make the daemon deaf.

More than libzmq puts by meanwhile, or its store would grow: at 64 it did, by 1.5 MB/s at worst.
"""

SUBSCRIPTIONS_S = 0.005
"""As long a call waits for the next of several: a sixth of a block."""

LARGEST_SUBSCRIPTION_BYTES = 512
"""Longer than any topic and than the handshake of CURVE; a connection that sends more is cut."""

_LAST_SUBSCRIPTION_MS = 20
"""A subscriber sends its topics one by one: so long after the last there is no further one."""

_STATE_PREFIXES = ("audio/state/", "runtime/state/", "health/")


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
    secured : SecuredEndpoint, optional
        A second, encrypted endpoint beyond this machine.

    Raises
    ------
    ConfigError
        The endpoint or a key is not allowed, or something else than a socket is at its path.
    BusError
        The endpoint cannot be bound.
    """

    def __init__(
        self,
        endpoint: str,
        queue_messages: int = 100,
        linger_ms: int = 500,
        replay: bool = False,
        secured: SecuredEndpoint | None = None,
    ) -> None:
        check_endpoint(endpoint)
        self.endpoint = endpoint
        self._replay = replay
        self._sequence: dict[str, int] = {}
        self._states: dict[str, list[bytes]] = {}
        self.subscriptions = 0
        """Subscriptions seen and not withdrawn."""
        self._queue_messages, self._linger_ms, self._secured = queue_messages, linger_ms, secured
        self._lock = SocketLock("bus.endpoint", endpoint)
        self._sockets: list[zmq.Socket[Any]] = []
        self._context: zmq.Context[Any] = zmq.Context(io_threads=1)
        self._gate: CurveGate | None = None
        try:
            if secured is not None:
                self._gate = CurveGate(secured)
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._bind("bus.endpoint", self.endpoint)
        if self._gate is not None and self._secured is not None:
            self._gate.start(self._context)
            self._bind("bus.tcp_endpoint", self._secured.endpoint, self._gate)

    def _bind(self, key: str, endpoint: str, gate: CurveGate | None = None) -> None:
        channel = self._context.socket(zmq.XPUB)
        self._sockets.append(channel)
        channel.setsockopt(zmq.SNDHWM, self._queue_messages)
        channel.setsockopt(zmq.LINGER, self._linger_ms)
        # One subscription waits here, the others with their sender: libzmq itself takes what waits
        # in one go, and keeps all of it. At 1000, its default, one client that subscribed in a loop
        # held a call for 38 s, or took 0.3 GB in 8 s; at 1 three held it for 0.1 s, with 1 MB.
        # The name of a client behind CURVE takes a place, too, and libzmq never gives that back.
        channel.setsockopt(zmq.RCVHWM, 1 if gate is None else 2)
        channel.setsockopt(zmq.MAXMSGSIZE, LARGEST_SUBSCRIPTION_BYTES)
        # Verbose: a second subscriber to a known topic must be seen too, to get the state.
        channel.setsockopt(zmq.XPUB_VERBOSE, 1)
        allow_ipv6(channel, endpoint)
        if gate is not None:
            gate.secure(channel)
        try:
            channel.bind(endpoint)
        except zmq.ZMQError as error:
            raise BusError(f"{key} = {endpoint} cannot be bound: {error.strerror}") from None

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
        frames = [topic.encode(), to_json(message).encode("utf-8", "replace")]
        if topic.startswith(_STATE_PREFIXES):
            self._states[topic] = frames
        for channel in self._sockets:
            self._send(channel, frames)

    def state(self, kind: str, **fields: object) -> None:
        """Publish a state such as ``audio.state``; new subscribers get it again."""
        self.emit({"v": SCHEMA_VERSION, "type": kind, **fields})

    def serve(self) -> None:
        """Answer new subscriptions; cheap, to be called often: what is left of many waits."""
        for channel in self._sockets:
            # Not poll(): it makes system calls, and this runs fifty times a second.
            if not int(channel.get(zmq.EVENTS)) & _POLLIN:
                continue
            prefixes = self._new_prefixes(channel)
            # Once for all that asked: a state goes to each subscriber of its topic anyway.
            for topic, frames in sorted(self._states.items()):
                if topic.encode().startswith(prefixes):
                    self._send(channel, frames)

    def wait_for_subscriber(self, timeout_s: float) -> bool:
        """Wait until somebody has subscribed; False if nobody did in time."""
        deadline = time.monotonic() + timeout_s
        poller = zmq.Poller()
        for channel in self._sockets:
            poller.register(channel, zmq.POLLIN)
        while self.subscriptions == 0:
            left_ms = int(max(0.0, deadline - time.monotonic()) * 1000)
            if not poller.poll(left_ms):
                return False
            self.serve()
        while poller.poll(_LAST_SUBSCRIPTION_MS):
            self.serve()
            if time.monotonic() >= deadline:
                break
        return True

    def reload_clients(self) -> None:
        """Read the allowed clients' keys again; where one cannot be read, nothing changes.

        Raises
        ------
        ConfigError
            The folder or a key cannot be read.
        """
        if self._gate is not None:
            self._gate.reload()

    def drop_connections(self) -> None:
        """Close all of them, with whatever they hold; clients connect again by themselves.

        Raises
        ------
        BusError
            An endpoint cannot be bound again.
        """
        # As a whole: of a single socket libzmq would remove the path after the next one has it.
        self._shut(linger_ms=0)
        self.subscriptions = 0
        self._context = zmq.Context(io_threads=1)
        self._open()

    def close(self) -> None:
        """Deliver what is queued within the linger time and release the endpoint."""
        self._shut()
        self._lock.release()

    def _shut(self, linger_ms: int | None = None) -> None:
        if self._context.closed:
            return
        for channel in self._sockets:
            channel.close(linger_ms)
        self._sockets.clear()
        if self._gate is not None:
            self._gate.close()
        self._context.term()

    def _new_prefixes(self, channel: zmq.Socket[Any]) -> tuple[bytes, ...]:
        """What was subscribed to, as far as one call takes it."""
        prefixes = set()
        deadline = time.monotonic() + SUBSCRIPTIONS_S
        for _ in range(SUBSCRIPTIONS_AT_ONCE):
            try:
                message = channel.recv(zmq.DONTWAIT)
            except zmq.Again:
                # One waits here, the next with its sender: it is under way.
                if time.monotonic() < deadline and channel.poll(1):
                    continue
                break
            joined = message[:1] == b"\x01"
            self.subscriptions += 1 if joined else -1
            if joined:
                prefixes.add(message[1:])
        return tuple(prefixes)

    def _send(self, channel: zmq.Socket[Any], frames: list[bytes]) -> None:
        try:
            channel.send_multipart(frames, zmq.DONTWAIT)
        except zmq.ZMQError as error:
            raise BusError(f"event cannot be published: {error.strerror}") from None


def open_bus(settings: BusSettings, replay: bool = False) -> BusSink:
    """The bus of a configuration.

    Parameters
    ----------
    settings : BusSettings
        ``[bus]``.
    replay : bool
        For a replay, which stays on this machine: without the encrypted endpoint.

    Raises
    ------
    ConfigError, MissingFileError, RuntimeUnavailable, BusError
        As `BusSink` and its encrypted endpoint.
    """
    return BusSink(
        settings.endpoint or default_endpoint(),
        queue_messages=settings.send_queue_messages,
        linger_ms=settings.linger_ms,
        replay=replay,
        secured=None if replay else secured_endpoint(settings),
    )
