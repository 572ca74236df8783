"""Breaker: when a runtime that failed may be tried again. No clock inside; times come as values."""

from __future__ import annotations

from enum import Enum

DELAYS_S = (1.0, 5.0, 30.0, 300.0)
"""Waiting time after the first, second, third and every further trip in a row."""

RESTARTS = 3
"""Failed restarts in a row after which nothing is tried until `Breaker.rearm`."""

HEALTHY_S = 60.0
"""Service without a fault after which the next fault counts as the first."""

ABSENT_S = 30.0
"""How often to look for a device or library that is not there; looking costs a few stat calls."""


class State(Enum):
    """What the breaker allows."""

    CLOSED = "closed"
    """The runtime serves."""

    OPEN = "open"
    """It does not; it may be tried when the delay is over."""

    HALTED = "halted"
    """Given up until somebody says that something has changed."""


class Breaker:
    """Back-off 1 s, 5 s, 30 s, 5 min; three failed restarts in a row end the attempts."""

    def __init__(self) -> None:
        self.state = State.CLOSED
        self._level = 0
        self._failed_restarts = 0
        self._try_at_s = 0.0
        self._closed_since_s = 0.0

    def trip(self, now_s: float) -> None:
        """A fault in service: wait, longer if the last one is not long ago."""
        if now_s - self._closed_since_s >= HEALTHY_S:
            self._level = 0
        self._wait(now_s)

    def may_try(self, now_s: float) -> bool:
        """True if a restart is due."""
        return self.state is State.OPEN and now_s >= self._try_at_s

    def restart_failed(self, now_s: float) -> None:
        """A restart did not reach service."""
        self._failed_restarts += 1
        self._wait(now_s)
        if self._failed_restarts >= RESTARTS:
            self.state = State.HALTED

    def absent(self, now_s: float) -> None:
        """There is nothing to restart yet: no fault, look again later."""
        self.state = State.OPEN
        self._try_at_s = now_s + ABSENT_S

    def halt(self) -> None:
        """A restart cannot succeed before somebody changes something."""
        self.state = State.HALTED

    def restarted(self, now_s: float) -> None:
        """The runtime serves again; how often it failed lately is kept until it proved itself."""
        self.state = State.CLOSED
        self._failed_restarts = 0
        self._closed_since_s = now_s

    def rearm(self, now_s: float) -> None:
        """Something changed, as behind a suspend: try at once and count afresh."""
        if self.state is not State.CLOSED:
            self.state = State.OPEN
        self._level = 0
        self._failed_restarts = 0
        self._try_at_s = now_s

    def _wait(self, now_s: float) -> None:
        self.state = State.OPEN
        self._try_at_s = now_s + DELAYS_S[self._level]
        self._level = min(self._level + 1, len(DELAYS_S) - 1)
