"""Where the Wyoming bridge listens: a TCP port, or a Unix socket that is its own.

Home Assistant keeps its connection for days, so one that is dead must show by itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from kwsd.bridge.wyoming_settings import WyomingSettings
from kwsd.errors import BusError
from kwsd.sink.socket_lock import SocketLock

KEEPALIVE_IDLE_S = 15
"""Silence after which a client's machine is asked whether it is there."""

_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_PROBES = 3
_SOCKET_MODE = 0o660

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class WyomingServer:
    """Listens at the configured address.

    Parameters
    ----------
    settings : WyomingSettings
        Checked settings.
    """

    def __init__(self, settings: WyomingSettings) -> None:
        self._uri = settings.uri
        self._address = settings.address()
        self._server: asyncio.Server | None = None
        self._lock: SocketLock | None = None
        self.port = 0
        """TCP port that was bound."""

    async def open(self, client: Client) -> None:
        """Listen; each connection calls ``client``.

        Raises
        ------
        BusError
            The address cannot be bound, or another bridge has it.
        ConfigError
            A file that is no socket is in the way.
        """
        try:
            if isinstance(self._address, str):
                await self._open_path(Path(self._address), client)
            else:
                self._server = await asyncio.start_server(client, *self._address)
                for listening in self._server.sockets:
                    _end_dead_connections(listening)
                self.port = self._server.sockets[0].getsockname()[1]
        except OSError as error:
            self.close()
            raise BusError(
                f"uri = {self._uri} cannot be bound: {error.strerror or error}; "
                "choose another address"
            ) from None

    async def _open_path(self, path: Path, client: Client) -> None:
        self._lock = SocketLock("uri", self._uri)
        # asyncio removes a socket that somebody has left behind.
        self._server = await asyncio.start_unix_server(client, path)
        os.chmod(path, _SOCKET_MODE)

    def close(self) -> None:
        """Listen no more; connections stay. May be called twice."""
        if self._server is not None:
            self._server.close()
        if self._lock is not None:
            self._lock.release()


def _end_dead_connections(listening: socket.socket) -> None:
    """Have the kernel end connections to machines that are gone; they inherit this: tcp(7)."""
    tcp = socket.IPPROTO_TCP
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(tcp, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    listening.setsockopt(tcp, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    listening.setsockopt(tcp, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
    # Nothing is probed while sent data waits for its acknowledgement, a quarter of an hour.
    limit_s = KEEPALIVE_IDLE_S + _KEEPALIVE_INTERVAL_S * _KEEPALIVE_PROBES
    listening.setsockopt(tcp, socket.TCP_USER_TIMEOUT, limit_s * 1000)
