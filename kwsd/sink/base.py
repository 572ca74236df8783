"""Sink: the protocol of everything that takes events."""

from __future__ import annotations

from typing import Protocol

from kwsd.event import Event


class Sink(Protocol):
    """A consumer of events at the edge of the program; may know the wall clock."""

    def emit(self, event: Event) -> None:
        """Deliver one event."""

    def close(self) -> None:
        """Deliver what is under way and release everything; may be called twice."""
