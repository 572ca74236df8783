"""Runtimes whose steps may fail: what failover needs to know of them beyond `base`."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from kwsd.model.package import ModelPackage
from kwsd.runtime.base import Session


class Recovery(Enum):
    """Whether a session whose step failed can serve again."""

    READY = "ready"
    """It can."""

    PENDING = "pending"
    """Not known yet."""

    LOST = "lost"
    """It cannot; open another."""


class FallibleSession(Session, Protocol):
    """A session whose steps may fail and that can be asked how it is."""

    tolerance: int

    def recovery(self) -> Recovery:
        """State after a failure that left it usable; never blocks."""
        ...

    def verify(self) -> None:
        """Reproduce the package's vectors, or raise RuntimeFailure."""
        ...

    def abandon(self) -> None:
        """Close at once, whatever it is doing."""
        ...


class FallibleRuntime(Protocol):
    """A runtime that opens such sessions."""

    name: str

    def open(self, package: ModelPackage) -> FallibleSession:
        """Load and prove a package, or raise RuntimeFailure."""
        ...
