"""Chooses a runtime for a package: in the configured order, the first that proves itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kwsd.errors import ConfigError, ModelError, RuntimeUnavailable
from kwsd.model.package import ModelPackage
from kwsd.model.verify import verify
from kwsd.runtime.base import Runtime, Session
from kwsd.runtime.litert import LiteRtRuntime

RUNTIMES: dict[str, type[Runtime]] = {"litert": LiteRtRuntime}
DEFAULT_ORDER = ("litert",)


@dataclass(frozen=True)
class RuntimeChoice:
    """Which runtime was taken and why not an earlier one; never chosen silently."""

    name: str
    """Name of the runtime."""

    reason: str
    """What it is, and what refused before it."""


def open_session(
    package: ModelPackage, order: Sequence[str] = DEFAULT_ORDER
) -> tuple[Session, RuntimeChoice]:
    """Load a package on the first runtime that is there and reproduces the package's vectors.

    Parameters
    ----------
    package : ModelPackage
        What to load.
    order : sequence of str
        Names of runtimes, first choice first.

    Returns
    -------
    session, choice

    Raises
    ------
    ConfigError
        An unknown name in the order.
    ModelError
        A runtime is there, but the network is not what the package says.
    RuntimeUnavailable
        None is there; lists each reason.
    """
    refused: list[str] = []
    broken: ModelError | None = None
    for name in order:
        if name not in RUNTIMES:
            raise ConfigError(
                f"runtime.order: unknown runtime {name!r}, allowed are {', '.join(RUNTIMES)}"
            )
        runtime = RUNTIMES[name]()
        probe = runtime.probe()
        if not probe.available:
            refused.append(f"{name}: {probe.reason}")
            continue
        session: Session | None = None
        try:
            session = runtime.open(package)
            verify(package, session)
        except (ModelError, RuntimeUnavailable) as error:
            if session is not None:
                session.close()
            if isinstance(error, ModelError):
                broken = error
            refused.append(f"{name}: {error}")
            continue
        return session, RuntimeChoice(name, "; ".join([probe.reason, *refused]))
    if broken is not None:
        raise broken
    raise RuntimeUnavailable(
        f"no runtime for model {package.name}: " + ("; ".join(refused) or "runtime.order is empty")
    )
