"""Failover: a session on a preferred runtime that goes on, with the same state, on another.

The caller holds the state, so a step that failed on one runtime is repeated on the other and no
audio is lost. Every change is told once, with its reason. The way back is taken in the background
and only after the package's vectors were reproduced again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.model.verify import allowed_units
from kwsd.runtime.base import Session, Tensors
from kwsd.runtime.breaker import Breaker, State
from kwsd.runtime.change import QUIET_REASONS, OnChange, RuntimeChange
from kwsd.runtime.failure import (
    FINAL_REASONS,
    LATE_REASONS,
    WAITING_REASONS,
    RuntimeFailure,
)
from kwsd.runtime.fallible import FallibleRuntime, FallibleSession, Recovery
from kwsd.runtime.restart import Restart
from kwsd.runtime.usage import RuntimeUsage, UsageCount

log = logging.getLogger(__name__)

SPOT_CHECK_STEPS = 50
"""Every so many steps the other runtime computes the same one: once a second."""

CLOSE_S = 0.25
"""How long closing waits for a restart that is under way; after it, it cleans up by itself. A
reload closes one session after the other while audio waits."""

STARTING = "starting"
"""Reason where the preferred runtime was not waited for any longer."""


class FailoverSession:
    """Session over a preferred runtime and one that always works.

    For one thread; `rearm` may be called from another.

    Parameters
    ----------
    package : ModelPackage
        The model.
    preferred : FallibleRuntime
        Opened here, and again after faults.
    fallback : Session
        Already open; closed with this session.
    fallback_name : str
        Its runtime's name.
    on_change : callable
        Told of the choice at start and of every change, in the thread of `step`.
    clock : callable
        Monotonic seconds.
    spot_check_steps : int
        Distance of the steps that both runtimes compute; 0 never. The only defence against a
        processor that answers in time and wrongly.
    start_by_s : float, optional
        Time of `clock` until which the preferred runtime is waited for; behind it the other one
        serves until it has started. None waits for as long as the start's own limits allow.
    """

    def __init__(
        self,
        package: ModelPackage,
        preferred: FallibleRuntime,
        fallback: Session,
        fallback_name: str,
        on_change: OnChange,
        clock: Callable[[], float] = time.monotonic,
        spot_check_steps: int = SPOT_CHECK_STEPS,
        start_by_s: float | None = None,
    ) -> None:
        self.inputs: tuple[TensorSpec, ...] = package.inputs
        self.outputs: tuple[TensorSpec, ...] = package.outputs
        self._count = UsageCount(package.name)
        self._package, self._preferred = package, preferred
        self._fallback, self._fallback_name = fallback, fallback_name
        self._on_change, self._clock = on_change, clock
        self._spot_check_steps = spot_check_steps
        self._until_check = spot_check_steps
        self._breaker = Breaker()
        self._rearm = threading.Event()
        self.refusal: RuntimeChange | None = None
        """Why the preferred runtime did not start at first."""
        self._active: FallibleSession | None = None
        self._resting: FallibleSession | None = None
        self._late = False
        self._restart: Restart | None = Restart(lambda: preferred.open(package))
        self._starting = True
        self._restart.wait(None if start_by_s is None else max(0.0, start_by_s - clock()))
        if self._restart.done:
            restart, self._restart = self._restart, None
            self._finish(restart, waited_for=True)
        else:
            self._breaker.absent(clock())
            self.refusal = self._tell(
                None, STARTING, f"{preferred.name} takes long to start: {fallback_name} until then"
            )

    @property
    def runtime(self) -> str:
        """Name of the runtime that serves now."""
        return self._fallback_name if self._active is None else self._preferred.name

    @property
    def breaker_state(self) -> State:
        """Whether the preferred runtime serves, waits or was given up."""
        return self._breaker.state

    @property
    def active(self) -> FallibleSession | None:
        """The preferred runtime's session while it serves."""
        return self._active

    def step(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """One step on the preferred runtime, or the same one on the other."""
        before_ns = time.monotonic_ns()
        outputs = self._step(inputs)
        self._count.step(self.runtime, (time.monotonic_ns() - before_ns) // 1000)
        return outputs

    def usage(self) -> RuntimeUsage:
        """Counters so far."""
        return self._count.snapshot(self.runtime, self._breaker.state.value)

    def rearm(self) -> None:
        """Something changed, as behind a suspend: try again at the next step."""
        self._rearm.set()

    def close(self) -> None:
        """Close every session; a restart under way closes what it opens."""
        if self._restart is not None:
            self._restart.discard(CLOSE_S)
            self._restart = None
        for session in (self._active, self._resting):
            if session is not None:
                session.close()
        self._active = self._resting = None
        self._fallback.close()

    def _step(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if self._active is None:
            self._recover()
        if self._active is not None:
            try:
                outputs = self._active.step(inputs)
                self._spot_check(self._active, inputs, outputs)
                return outputs
            except RuntimeFailure as failure:
                self._failed(self._active, failure)
        return self._fallback.step(inputs)

    def _spot_check(
        self, session: FallibleSession, inputs: Tensors, outputs: dict[str, NDArray[Any]]
    ) -> None:
        if not self._spot_check_steps:
            return
        self._until_check -= 1
        if self._until_check > 0:
            return
        self._until_check = self._spot_check_steps
        all_expected = self._fallback.step(inputs)
        for spec in self.outputs:
            expected = all_expected[spec.name].astype(np.int64)
            difference = np.abs(outputs[spec.name].astype(np.int64) - expected).max()
            allowed = allowed_units(spec.dtype, session.tolerance)
            if difference > allowed:
                raise RuntimeFailure(
                    "output-mismatch",
                    f"{spec.name} is off by {difference} against {self._fallback_name}, allowed "
                    f"{allowed}",
                )

    def _failed(self, session: FallibleSession, failure: RuntimeFailure) -> None:
        self._active = None
        if failure.session_usable:
            self._resting = session
            self._late = failure.reason in LATE_REASONS
        else:
            session.abandon()
        self._count.failed(failure.reason)
        self._breaker.trip(self._clock())
        self._tell(self._preferred.name, failure.reason, failure.detail)

    def _recover(self) -> None:
        """One look at what is under way; starts what is due. Never waits."""
        now_s = self._clock()
        if self._rearm.is_set():
            self._rearm.clear()
            self._breaker.rearm(now_s)
        if self._resting is not None and self._resting.recovery() is Recovery.LOST:
            self._resting.abandon()
            self._resting = None
            self._count.late_lost += 1
        if self._restart is not None:
            if not self._restart.done:
                return
            restart, self._restart = self._restart, None
            self._finish(restart)
        elif self._breaker.may_try(now_s):
            if self._resting is None:
                self._restart = Restart(lambda: self._preferred.open(self._package))
            elif self._resting.recovery() is Recovery.READY:
                resting, self._resting = self._resting, None
                self._count.late_collected += self._late
                self._restart = Restart(lambda: _proved(resting))

    def _finish(self, restart: Restart, *, waited_for: bool = False) -> None:
        """What came of a start; one that was waited for has no runtime before it."""
        first, self._starting = self._starting, False
        previous = None if waited_for else self._fallback_name
        failure = restart.failure
        if failure is not None:
            self._not_started(failure, at_start=first)
            if first:
                # Nobody was told so far why it does not serve. Its words alone: an exception keeps
                # all frames that it came through.
                self.refusal = self._tell(previous, failure.reason, failure.detail)
            return
        self._active = restart.session
        self._until_check = self._spot_check_steps
        self._breaker.restarted(self._clock())
        self._count.restarts += not first
        word = "start" if waited_for else "recovered"
        self._tell(previous, word, f"{self._preferred.name} reproduces the vectors")

    def _not_started(self, failure: RuntimeFailure, *, at_start: bool = False) -> None:
        now_s = self._clock()
        if failure.reason in WAITING_REASONS:
            # Nothing failed: it was looked for, and is looked for again.
            self._breaker.absent(now_s)
            return
        self._count.failed(failure.reason)
        if failure.reason in FINAL_REASONS:
            self._breaker.halt()
        else:
            self._breaker.restart_failed(now_s)
        if self._breaker.state is State.HALTED and not at_start:
            log.log(
                logging.INFO if failure.reason in QUIET_REASONS else logging.ERROR,
                "%s: %s is given up until a reload or a resume: %s",
                *(self._package.name, self._preferred.name, failure),
            )

    def _tell(self, previous: str | None, reason: str, detail: str) -> RuntimeChange:
        change = RuntimeChange(
            self._package.name, self._package.version, self.runtime, previous, reason, detail
        )
        if previous is not None:
            log.warning("%s runs on %s: %s: %s", change.model, change.runtime, reason, detail)
        self._on_change(change)
        return change


def _proved(session: FallibleSession) -> FallibleSession:
    try:
        session.verify()
    except BaseException:
        session.abandon()
        raise
    return session
