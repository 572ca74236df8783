"""Chooses a runtime for a package: in the configured order, the first that proves itself.

A runtime whose steps may fail later (the AIPU) is joined with the next one in the order that works,
so that a fault has somewhere to go.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kwsd.errors import ConfigError, ModelError, RuntimeUnavailable
from kwsd.model.package import ModelPackage
from kwsd.model.verify import verify
from kwsd.runtime.aipu.runtime import AipuRuntime, AipuSettings
from kwsd.runtime.base import Probe, Runtime, Session, Toleranced
from kwsd.runtime.change import OnChange, RuntimeChange
from kwsd.runtime.failover import SPOT_CHECK_STEPS, FailoverSession
from kwsd.runtime.failure import RuntimeFailure
from kwsd.runtime.litert import LiteRtRuntime
from kwsd.runtime.served import ServedSession, SingleSession

AIPU = "aipu"
DEFAULT_ORDER = (AIPU, "litert")
EVALUATION_ORDER = ("litert",)
"""Of `kwsmodel evaluate`."""


class _Uninstalled:
    """Stands for a runtime whose module or whose package is not there."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    def probe(self) -> Probe:
        return Probe(False, self._why)

    def open(self, package: ModelPackage) -> Session:
        raise RuntimeUnavailable(self._why)


def _ncnn() -> Runtime:
    # Imported only where it is asked for: nobody else pays for it.
    try:
        found: Runtime = importlib.import_module("kwsd.runtime.ncnn").NcnnRuntime()
    except ImportError as error:
        return _Uninstalled("ncnn", f"{error}: pip install ncnn")
    return found


RUNTIMES: dict[str, Callable[[], Runtime]] = {
    AIPU: AipuRuntime,
    "litert": LiteRtRuntime,
    "ncnn": _ncnn,
}


@dataclass(frozen=True)
class RuntimeChoice:
    """Which runtime was taken and why not an earlier one; never chosen silently."""

    name: str
    """Name of the runtime."""

    reason: str
    """What it is, and what refused before it."""

    word: str = "start"
    """``start`` if the first one in the order serves, else the reason word of what refused."""


@dataclass(frozen=True)
class RuntimeOptions:
    """What the choice needs to know beyond the order."""

    aipu: AipuSettings = AipuSettings()
    """Where the AIPU is, and its limits."""

    spot_check_steps: int = SPOT_CHECK_STEPS
    """Distance of the steps that AIPU and CPU both compute; 0 never."""

    start_by_s: float | None = None
    """Monotonic time until which the AIPU is waited for, by all models together; None: no limit."""


@dataclass(frozen=True)
class _Refusal:
    word: str
    text: str


def open_session(
    package: ModelPackage,
    order: Sequence[str] = DEFAULT_ORDER,
    options: RuntimeOptions | None = None,
    on_change: OnChange | None = None,
) -> tuple[ServedSession, RuntimeChoice]:
    """Load a package on the first runtime that is there and reproduces the package's vectors.

    Parameters
    ----------
    package : ModelPackage
        What to load.
    order : sequence of str
        Names of runtimes, first choice first.
    options : RuntimeOptions, optional
        Settings of the runtimes.
    on_change : callable, optional
        Told of the choice before this returns, and of every later change in the thread that steps.

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
    for name in order:
        if name not in RUNTIMES:
            raise ConfigError(
                f"runtime.order: unknown runtime {name!r}, allowed are {', '.join(RUNTIMES)}"
            )
    told: OnChange = on_change or _nobody
    session, choice = _open(package, order, options or RuntimeOptions(), told)
    told(
        RuntimeChange(package.name, package.version, choice.name, None, choice.word, choice.reason)
    )
    return session, choice


def _open(
    package: ModelPackage, order: Sequence[str], options: RuntimeOptions, on_change: OnChange
) -> tuple[ServedSession, RuntimeChoice]:
    refused: list[_Refusal] = []
    broken: ModelError | None = None
    for position, name in enumerate(order):
        try:
            if name == AIPU:
                rest = order[position + 1 :]
                session, choice = _open_aipu(package, rest, options, on_change)
            else:
                session, choice = _open_one(package, RUNTIMES[name]())
        except (ModelError, RuntimeUnavailable) as error:
            if isinstance(error, ModelError):
                broken = error
            refused.append(_Refusal(_word(error), f"{name}: {error}"))
            continue
        words = [refusal.word for refusal in refused] + [choice.word]
        reasons = [choice.reason, *(refusal.text for refusal in refused)]
        return session, replace(choice, word=words[0], reason="; ".join(reasons))
    if broken is not None:
        raise broken
    texts = "; ".join(refusal.text for refusal in refused)
    raise RuntimeUnavailable(
        f"no runtime for model {package.name}: " + (texts or "runtime.order is empty")
    )


def _open_one(package: ModelPackage, runtime: Runtime) -> tuple[ServedSession, RuntimeChoice]:
    probe = runtime.probe()
    if not probe.available:
        raise RuntimeUnavailable(probe.reason)
    session = runtime.open(package)
    try:
        verify(package, session, session.tolerance if isinstance(session, Toleranced) else None)
    except BaseException:
        session.close()
        raise
    return SingleSession(package, session, runtime.name), RuntimeChoice(runtime.name, probe.reason)


def _open_aipu(
    package: ModelPackage, rest: Sequence[str], options: RuntimeOptions, on_change: OnChange
) -> tuple[ServedSession, RuntimeChoice]:
    """The AIPU with the first of the rest behind it, or alone where there is no other."""
    runtime = AipuRuntime(options.aipu)
    try:
        fallback, behind = _open(package, rest, options, on_change)
    except RuntimeUnavailable:
        alone = SingleSession(package, runtime.open(package), AIPU)
        return alone, RuntimeChoice(AIPU, f"{runtime.probe().reason}; no other runtime behind it")

    def later(change: RuntimeChange) -> None:
        # The choice at start is told by the caller, who knows of earlier refusals.
        if change.previous is not None:
            on_change(change)

    session = FailoverSession(
        package,
        runtime,
        fallback,
        behind.name,
        later,
        spot_check_steps=options.spot_check_steps,
        start_by_s=options.start_by_s,
    )
    refusal = session.refusal
    if refusal is None:
        return session, RuntimeChoice(AIPU, f"{runtime.probe().reason}, {behind.name} behind it")
    reason = f"{behind.reason}; {AIPU}: {refusal.reason}: {refusal.detail}"
    return session, RuntimeChoice(behind.name, reason, refusal.reason)


def _word(error: ModelError | RuntimeUnavailable) -> str:
    if isinstance(error, RuntimeFailure):
        return error.reason
    return "vector-mismatch" if isinstance(error, ModelError) else "unavailable"


def _nobody(change: RuntimeChange) -> None:
    """Nobody wants to know."""
