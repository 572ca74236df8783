"""What the service manager is told: the sd_notify protocol over a datagram socket.

Protocol: sd_notify(3) of systemd. Nothing is sent, and nothing fails, where there is no manager.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

PATIENCE_S = 0.2
"""Longest wait for a busy manager, for what it is told once; the capture ring holds 4 s."""


class Notifier:
    """Messages to the service manager.

    Parameters
    ----------
    environment : mapping, optional
        Has ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``; None takes that of the process.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        environment = os.environ if environment is None else environment
        path = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract address.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._clock = clock
        self._fed_s = float("-inf")
        self._status = ""
        try:
            limit_us = int(environment.get("WATCHDOG_USEC", "0"))
        except ValueError:
            limit_us = 0
        self.watchdog_s = limit_us / 1e6
        """The manager kills a service that feeds it less often; 0 for no watchdog."""

    @property
    def present(self) -> bool:
        """Whether a service manager started this process."""
        return bool(self._address)

    def ready(self) -> None:
        """The service works."""
        self._send("READY=1", PATIENCE_S)

    def reloading(self) -> None:
        """A new configuration is being read; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", PATIENCE_S)

    def stopping(self) -> None:
        """The service is about to leave."""
        self._send("STOPPING=1", PATIENCE_S)

    def status(self, line: str) -> None:
        """A line for people, sent when it changes."""
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Feed the watchdog; sent a few times per limit, however often it is called."""
        now_s = self._clock()
        if self.watchdog_s > 0 and now_s - self._fed_s >= self.watchdog_s / 4:
            self._fed_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, message: str, patience_s: float = 0.0) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            # A queue of ten that nobody reads would hold the service, and its ears, for ever.
            channel.settimeout(patience_s)
            try:
                channel.sendto(message.encode(), self._address)
            except OSError:
                # A manager that is gone or busy must not take the service with it.
                pass
