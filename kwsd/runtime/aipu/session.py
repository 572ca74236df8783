"""Session on the AIPU: tensors in and out of shared memory, one step at a time, limits kept."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import ModelError
from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.model.verify import verify
from kwsd.runtime.aipu import wire
from kwsd.runtime.aipu.client import EngineClient
from kwsd.runtime.aipu.graph import GraphTensor
from kwsd.runtime.aipu.manifest import Manifest, scale_convention, tensor_bytes
from kwsd.runtime.aipu.statistics import Statistics
from kwsd.runtime.aipu.status import DATA_TYPES, run_reason, status_text
from kwsd.runtime.base import Tensors
from kwsd.runtime.failure import RuntimeFailure
from kwsd.runtime.fallible import Recovery

log = logging.getLogger(__name__)

WARM_UP_STEPS = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Times of a session."""

    start_s: float = 5.0
    """Whole start: process, library, graph."""

    first_steps_ms: int = 1000
    """Limit of a job until its usual time is known."""

    smallest_ms: int = 35
    """Least limit of a job in service; must stay below the slack of the audio ring."""

    largest_ms: int = 200
    """Greatest limit of a job in service."""

    slack_ms: int = 50
    """Beyond the limit of the job and one retry: how late the engine's answer may be."""

    grace_ms: int = 500
    """How long a job that missed its limit may still come in."""


class AipuSession:
    """One compiled graph in one engine process.

    Inputs and outputs are in the package's numbers, so that a state goes on to another runtime as
    it is; where the compiled graph has other ones they are converted here. Not for two threads.

    Parameters
    ----------
    package : ModelPackage
        The model.
    manifest : Manifest
        Its compiled graph, already checked.
    library : Path
        Driver library, already checked.
    limits : Limits
        Times.

    Raises
    ------
    RuntimeFailure
        With the reason word of what failed; nothing is left open.
    """

    name = "aipu"

    def __init__(
        self,
        package: ModelPackage,
        manifest: Manifest,
        library: Path,
        limits: Limits | None = None,
    ) -> None:
        self.inputs, self.outputs = package.inputs, package.outputs
        self.tolerance = manifest.tolerance
        self.statistics = Statistics()
        self._package, self._manifest = package, manifest
        self._limits = limits or Limits()
        self._timeout_ms = self._limits.first_steps_ms
        inputs, outputs, size = wire.layout(
            [tensor_bytes(spec) for spec in manifest.inputs],
            [tensor_bytes(spec) for spec in manifest.outputs],
        )
        request = wire.OpenRequest(
            str(library), str(manifest.path), inputs, outputs, size, self._limits.grace_ms
        )
        self._engine = EngineClient(size)
        memory = np.frombuffer(self._engine.memory, np.uint8)
        self._ports_in = _ports(memory, manifest.inputs, inputs, package.inputs)
        self._ports_out = _ports(memory, manifest.outputs, outputs, package.outputs)
        # A traceback keeps this frame, and a view kept the memory.
        del memory
        self._guards = tuple(
            slice(end, end + len(wire.GUARD))
            for end in (slot.offset + slot.size for slot in (*inputs, *outputs))
        )
        for guard in self._guards:
            self._engine.memory[guard] = wire.GUARD
        try:
            self._check(self._engine.open(request, self._limits.start_s))
            self._warm_up()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the engine."""
        return self._engine.pid

    @property
    def timeout_ms(self) -> int:
        """Limit of a job now in force."""
        return self._timeout_ms

    def step(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """One step; the inputs are left as they are, so a failed step can be repeated elsewhere.

        Raises
        ------
        RuntimeFailure
            It failed, and why.
        """
        before_ns = time.monotonic_ns()
        for port in self._ports_in:
            port.write(inputs[port.spec.name])
        reply = self._engine.step(self._timeout_ms, self._limits.slack_ms)
        self.statistics.retries += reply.retries
        if reply.status:
            raise self._failure(reply)
        memory = self._engine.memory
        if any(memory[guard] != wire.GUARD for guard in self._guards):
            raise RuntimeFailure("engine-fault", "the driver wrote behind the end of a tensor")
        outputs = {port.spec.name: port.read() for port in self._ports_out}
        self.statistics.steps += 1
        self.statistics.job.add(reply.job_us)
        self.last_job_us = reply.job_us
        self.statistics.round_trip.add((time.monotonic_ns() - before_ns) // 1000)
        return outputs

    def recovery(self) -> Recovery:
        """After a failed step that left the session usable: may it serve again? Never blocks."""
        if self._lost:
            return Recovery.LOST
        if not self._late:
            return Recovery.READY
        event = self._engine.late_event()
        if event == b"":
            return Recovery.PENDING
        if event == wire.COLLECTED:
            self._late = False
            return Recovery.READY
        if event == wire.STUCK:
            log.error(
                "the AIPU did not end a job within %d ms; if it stays busy, only reloading the "
                "kernel module or a reboot frees it",
                self._limits.grace_ms,
            )
        self._lost = True
        return Recovery.LOST

    def verify(self) -> None:
        """Run the package's vectors with the manifest's tolerance.

        Raises
        ------
        RuntimeFailure
            ``vector-mismatch``, or a step failed.
        """
        vectors = replace(self._package.vectors, tolerance=self.tolerance)
        try:
            verify(replace(self._package, vectors=vectors), self)
        except ModelError as error:
            raise RuntimeFailure("vector-mismatch", str(error)) from None

    def close(self) -> None:
        """Clean, unload and deinit in the engine, end it, release the memory."""
        self._release_views()
        self._engine.close()

    def abandon(self) -> None:
        """Kill the engine with whatever it is doing; for one that does not answer."""
        self._release_views()
        self._engine.kill()

    _late = False
    _lost = False
    last_job_us = 0
    """Time of the last job inside the driver."""

    def _release_views(self) -> None:
        for port in (*self._ports_in, *self._ports_out):
            port.release()
        self._ports_in = self._ports_out = ()

    def _check(self, tables: dict[str, Any]) -> None:
        """Types of the loaded graph against the manifest; sizes were checked by the engine."""
        for role, specs in (("inputs", self._manifest.inputs), ("outputs", self._manifest.outputs)):
            for index, (spec, row) in enumerate(zip(specs, tables[role], strict=True)):
                size, scale, zero_point, data_type = row
                if data_type != DATA_TYPES[spec.dtype]:
                    raise RuntimeFailure(
                        "manifest-mismatch",
                        f"{spec.name} is of type {data_type} in the driver, the manifest says "
                        f"{spec.dtype}",
                    )
                convention = scale_convention(
                    spec, GraphTensor(index, size, data_type, scale, zero_point)
                )
                log.info(
                    "%s: scale %g, zero point %d in the graph, convention %s",
                    *(spec.name, scale, zero_point, convention),
                )

    def _warm_up(self) -> None:
        """First runs and the vectors; the limit of a job follows from their times."""
        rest = {s.name: np.full(s.shape, s.zero_point, s.dtype) for s in self.inputs}
        for _ in range(WARM_UP_STEPS):
            self.step(rest)
        self.statistics = Statistics()
        self.verify()
        usual_ms = 5 * self.statistics.job.quantile_us(0.99) // 1000
        self._timeout_ms = min(max(usual_ms, self._limits.smallest_ms), self._limits.largest_ms)

    def _failure(self, reply: wire.StepReply) -> RuntimeFailure:
        self.statistics.failed(reply.status)
        reason = run_reason(reply.status)
        self._late = bool(reply.state)
        # After these the engine holds a job that may serve again; others need another engine.
        usable = self._late or reason in ("exception", "graph-error")
        return RuntimeFailure(
            reason,
            f"a job ended with {status_text(reply.status)} after {reply.retries} retries",
            session_usable=usable,
        )


class _Port:
    """One tensor between the package's numbers and shared memory."""

    def __init__(self, view: NDArray[Any], stored: TensorSpec, spec: TensorSpec) -> None:
        self.spec = spec
        self._view, self._stored = view, stored
        self._dtype = np.dtype(spec.dtype)
        self._same = (spec.dtype, spec.scale, spec.zero_point) == (
            stored.dtype,
            stored.scale,
            stored.zero_point,
        )

    def write(self, value: NDArray[Any]) -> None:
        if value.shape != self.spec.shape or value.dtype != self._dtype:
            raise ValueError(
                f"{self.spec.name} is {value.dtype} {value.shape}, expected {self.spec.dtype} "
                f"{self.spec.shape}"
            )
        self._view[...] = value if self._same else requantise(value, self.spec, self._stored)

    def release(self) -> None:
        self._view = np.zeros(0, self._stored.dtype)

    def read(self) -> NDArray[Any]:
        if self._same:
            return self._view.copy()
        return requantise(self._view, self._stored, self.spec)


def requantise(value: NDArray[Any], have: TensorSpec, want: TensorSpec) -> NDArray[Any]:
    """Stored integers of one scale and zero point to those of another, rounded and saturated."""
    limits = np.iinfo(want.dtype)
    real = (value.astype(np.float64) - have.zero_point) * (have.scale / want.scale)
    stored = np.clip(np.rint(real) + want.zero_point, limits.min, limits.max)
    return np.asarray(stored, dtype=want.dtype)


def _ports(
    memory: NDArray[np.uint8],
    stored: tuple[TensorSpec, ...],
    slots: list[wire.Slot],
    specs: tuple[TensorSpec, ...],
) -> tuple[_Port, ...]:
    by_name = {spec.name: spec for spec in specs}
    return tuple(
        _Port(
            memory[slot.offset : slot.offset + slot.size].view(spec.dtype).reshape(spec.shape),
            spec,
            by_name[spec.name],
        )
        for spec, slot in zip(stored, slots, strict=True)
    )
