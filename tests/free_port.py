"""A port of the loopback for one test."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that nobody has now; a plain socket, for one of ZeroMQ lets go of its port later."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
