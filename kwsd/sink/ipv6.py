"""IPv6 addresses of endpoints, the same for who binds and who connects."""

from __future__ import annotations

from typing import Any

import zmq


def allow_ipv6(channel: Any, endpoint: str) -> None:
    """Let a socket take an IPv6 address, ``tcp://[::1]:5577``; before it is bound or connected.

    Not for names: libzmq would try the IPv6 address alone of a name that has both, and the daemon
    may have bound the other.
    """
    channel.setsockopt(zmq.IPV6, int("[" in endpoint))
