"""RuntimeChange: where a model runs from now on, and why; told at start and at every change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

QUIET_REASONS = frozenset(
    {"start", "no-device", "no-graph", "unavailable", "not-quantised", "unsupported-operator"}
)
"""Ordinary at start: the first choice serves, or this machine or package was never made for it."""


@dataclass(frozen=True, slots=True)
class RuntimeChange:
    """From now on a model runs elsewhere; the first one is the choice at start."""

    model: str
    """Name of the package."""

    version: str
    """Version of the package."""

    runtime: str
    """Runtime that serves now."""

    previous: str | None
    """Runtime that served before; None at start."""

    reason: str
    """One word: ``start``, ``recovered``, or what failed."""

    detail: str
    """A sentence for people."""

    def table(self) -> dict[str, Any]:
        """As an entry of a ``runtime.state`` event."""
        return {
            "model": self.model,
            "version": self.version,
            "runtime": self.runtime,
            "previous": self.previous,
            "reason": self.reason,
            "detail": self.detail,
        }


OnChange = Callable[[RuntimeChange], None]
