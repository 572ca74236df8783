"""The interface of every runtime: is it there, load a model, make one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from kwsd.model.package import ModelPackage, TensorSpec

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Probe:
    """Whether a runtime can be used on this machine."""

    available: bool
    """It can."""

    reason: str
    """Which one it is, or why it cannot be used and what to install."""


class Session(Protocol):
    """One loaded network. It has no memory: states come in and go out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def step(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """All inputs by name to all outputs by name; the arrays belong to the caller."""
        ...

    def close(self) -> None:
        """Release everything; the session must not be used afterwards."""
        ...


@runtime_checkable
class Toleranced(Protocol):
    """A session that states itself how far off it may be; others keep to the package's word."""

    tolerance: int
    """Largest difference from the package's vectors in stored units."""


class Runtime(Protocol):
    """A way to run networks."""

    name: str

    def probe(self) -> Probe:
        """Look without side effects."""
        ...

    def open(self, package: ModelPackage) -> Session:
        """Load a package's network.

        Raises
        ------
        ModelError
            The network is not what the package says.
        RuntimeUnavailable
            The runtime cannot run here.
        """
        ...
