"""Served sessions: a session that says on what it runs; here the plain one, on one runtime."""

from __future__ import annotations

import time
from typing import Any, Protocol

from numpy.typing import NDArray

from kwsd.model.package import ModelPackage
from kwsd.runtime.base import Session, Tensors
from kwsd.runtime.breaker import State
from kwsd.runtime.usage import RuntimeUsage, UsageCount


class Served(Protocol):
    """What runs a model, as metrics and the service see it."""

    def usage(self) -> RuntimeUsage:
        """Counters so far; may be called from any thread."""
        ...

    def rearm(self) -> None:
        """Something changed, as behind a suspend: try what was given up again."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class ServedSession(Session, Served, Protocol):
    """A session as `kwsd.runtime.select` gives it out. For one thread; `usage` for any."""

    @property
    def runtime(self) -> str:
        """Name of the runtime that serves now."""
        ...


class SingleSession:
    """A session on one runtime, without another to go to: what it raises, its caller gets.

    Parameters
    ----------
    package : ModelPackage
        The model.
    session : Session
        Open; closed with this one.
    runtime : str
        Its runtime's name.
    """

    def __init__(self, package: ModelPackage, session: Session, runtime: str) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self.runtime = runtime
        self._session = session
        self._count = UsageCount(package.name)

    def step(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """One step, counted."""
        before_ns = time.monotonic_ns()
        outputs = self._session.step(inputs)
        self._count.step(self.runtime, (time.monotonic_ns() - before_ns) // 1000)
        return outputs

    def usage(self) -> RuntimeUsage:
        """Counters so far."""
        return self._count.snapshot(self.runtime, State.CLOSED.value)

    def rearm(self) -> None:
        """Nothing was given up."""

    def close(self) -> None:
        """Close the session."""
        self._session.close()
