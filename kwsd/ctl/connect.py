"""Connecting to a socket of a running daemon."""

from __future__ import annotations

from typing import Any

import zmq

from kwsd.errors import UsageError


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
    try:
        channel.connect(endpoint)
    except zmq.ZMQError as error:
        raise UsageError(
            f"{option} {endpoint}: {zmq.strerror(error.errno or 0)}; must be {allowed}"
        ) from None
