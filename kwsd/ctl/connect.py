"""Connecting to a socket of a running daemon, and staying subscribed to its events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import zmq

from kwsd.errors import KwsdError, UsageError
from kwsd.sink.endpoint import places_looked_at
from kwsd.sink.ipv6 import allow_ipv6

RENEW_S = 30.0
"""So long without a message, and a client subscribes anew: the daemon has a beat each second."""

UNKNOWN_KEY = (
    "a key that is not known there gets no answer: put this client's .key into "
    "bus.curve_clients_directory and kwsctl reload"
)


def connect(
    channel: zmq.Socket[Any],
    endpoint: str,
    option: str,
    allowed: str = "ipc:///path or tcp://host:port",
) -> None:
    """Connect; whether somebody is there shows later.

    Raises
    ------
    UsageError
        What ``option`` gave is no endpoint.
    """
    allow_ipv6(channel, endpoint)
    try:
        channel.connect(endpoint)
    except zmq.ZMQError as error:
        raise UsageError(
            f"{option} {endpoint}: {zmq.strerror(error.errno or 0)}; must be {allowed}"
        ) from None


class Subscription:
    """A SUB socket that is made anew where nothing was heard for long.

    libzmq connects again by itself, except where the handshake was refused or the protocol broken:
    that connection it gives up for good. A client that came before its key was known would stay
    deaf for ever.

    Parameters
    ----------
    subscribe : callable
        Makes a connected socket. Without ``health/beat/`` a quiet daemon looks like none.
    endpoint : str
        Where, for the warning.
    keys : bool
        Whether the client has keys, which the daemon may not know.
    warn : callable
        Takes a line about what is wrong; not the same one again until the daemon was heard.
    renew_s : float
        Longest silence.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        subscribe: Callable[[], Any],
        endpoint: str,
        keys: bool,
        warn: Callable[[str], object],
        renew_s: float = RENEW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subscribe = subscribe
        self.endpoint = endpoint
        """Where it is subscribed."""
        self._keys = keys
        self._warn = warn
        self._renew_s = renew_s
        self._clock = clock
        self._since_s = clock()
        self._warned = ""
        self.channel = subscribe()
        """To read from; `renew` puts another in its place."""

    def heard(self) -> bool:
        """Say that a message came; True behind a silence that was warned of."""
        warned, self._warned = self._warned, ""
        self._since_s = self._clock()
        return bool(warned)

    def renew(self) -> None:
        """Subscribe anew if it is time to; to be called often while nothing comes."""
        now_s = self._clock()
        if now_s - self._since_s < self._renew_s:
            return
        self._since_s = now_s
        said = f"kwsd is not heard at {places_looked_at(self.endpoint)}: nothing for "
        said += f"{self._renew_s:g} s; trying again, silently"
        if self._keys:
            said += f"; {UNKNOWN_KEY}"
        try:
            channel = self._subscribe()
        except (KwsdError, zmq.ZMQError) as error:
            # Such as keys that are being exchanged: they were good at the start.
            said = f"{said}; {error}"
        else:
            self.channel.close()
            self.channel = channel
        if said != self._warned:
            self._warn(said)
        self._warned = said

    def close(self) -> None:
        """Hear no more."""
        self.channel.close()
