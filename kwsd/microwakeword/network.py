"""Network of a microWakeWord package: every stream gets an interpreter with a state of its own.

The state lives in resource variables inside the interpreter and cannot be set from outside; a new
interpreter is the only way back to its beginning.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import ModelError, RuntimeUnavailable
from kwsd.microwakeword.features import BANDS, micro_features
from kwsd.microwakeword.manifest import MicroModel
from kwsd.model.package import TensorSpec
from kwsd.model.stream import quantise
from kwsd.runtime.breaker import State
from kwsd.runtime.change import OnChange, RuntimeChange
from kwsd.runtime.litert import LARGEST_WAKE_WORD_BYTES, LiteRtSession
from kwsd.runtime.usage import RuntimeUsage, UsageCount

FloatArray = NDArray[np.float32]

RUNTIME = "litert"
LARGEST_STRIDE = 64


class MicroMemory:
    """One interpreter: one stream, one thread.

    Parameters
    ----------
    session : LiteRtSession
        Fresh, with checked tensors.
    count : UsageCount
        Of the model.
    """

    def __init__(self, session: LiteRtSession, count: UsageCount) -> None:
        self._session, self._count = session, count
        (self._input,), (self._output,) = session.inputs, session.outputs

    def step(self, frames: FloatArray) -> float:
        """Score, 0 to 1, of float32 [stride, BANDS]."""
        stored = quantise(frames, self._input).reshape(self._input.shape)
        before_ns = time.monotonic_ns()
        outputs = self._session.step({self._input.name: stored})
        self._count.step(RUNTIME, (time.monotonic_ns() - before_ns) // 1000)
        value = float(outputs[self._output.name].reshape(-1)[0])
        return (value - self._output.zero_point) * self._output.scale

    def close(self) -> None:
        """Drop the interpreter."""
        self._session.close()


class MicroNetwork:
    """A loaded network.

    Parameters
    ----------
    model : MicroModel
        From `load_manifest`.

    Raises
    ------
    ModelError
        The file is no network of a microWakeWord model, or does not run.
    RuntimeUnavailable
        There is no TensorFlow Lite interpreter.
    """

    def __init__(self, model: MicroModel) -> None:
        self.model = model
        self._count = UsageCount(model.name)
        self.stride = 0
        """Feature frames of one step."""

        self._self_test()

    def remember(self) -> MicroMemory:
        """A new interpreter that has heard nothing."""
        # The delegate of the default resolver rounds differently: measured, one unit of 1/256 in
        # some steps. Without it scores equal those of the models' own tools.
        session = LiteRtSession(
            self.model.content,
            str(self.model.network),
            delegates=False,
            most_bytes=LARGEST_WAKE_WORD_BYTES,
        )
        self.stride = _check_tensors(self.model, session)
        return MicroMemory(session, self._count)

    def usage(self) -> RuntimeUsage:
        """Counters so far; for any thread."""
        return self._count.snapshot(RUNTIME, State.CLOSED.value)

    def rearm(self) -> None:
        """Nothing was given up."""

    def close(self) -> None:
        """Nothing is held here; interpreters go with their streams."""

    def _self_test(self) -> None:
        """One step of silence: a network with an unknown operation may load and then not run."""
        memory = self.remember()
        try:
            score = memory.step(np.zeros((self.stride, BANDS), np.float32))
        except (RuntimeError, ValueError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(
                f"{self.model.network} does not run: {first}; install the model again"
            ) from None
        finally:
            memory.close()
        self._count = UsageCount(self.model.name)
        if not 0.0 <= score <= 1.0:
            raise ModelError(
                f"{self.model.network}: the score of silence is {score:g}, 0 to 1 expected; "
                "install the model again"
            )


def open_network(
    model: MicroModel, order: Sequence[str] = (RUNTIME,), on_change: OnChange | None = None
) -> MicroNetwork:
    """Load a model's network and see that its features can be computed.

    Parameters
    ----------
    model : MicroModel
        From `load_manifest`.
    order : sequence of str
        Names of runtimes as configured.
    on_change : callable, optional
        Told of the choice before this returns.

    Raises
    ------
    ModelError
        See `MicroNetwork`.
    RuntimeUnavailable
        The order does not allow the only runtime for it, or a package is not installed.
    """
    if RUNTIME not in order:
        raise RuntimeUnavailable(
            f"no runtime for model {model.name}: microWakeWord models run on {RUNTIME} only; "
            f'add "{RUNTIME}" to runtime.order'
        )
    micro_features(model.step_ms).open()
    network = MicroNetwork(model)
    if on_change is not None:
        detail = "the CPU, the only runtime of microWakeWord models"
        on_change(RuntimeChange(model.name, model.version, RUNTIME, None, "start", detail))
    return network


def _check_tensors(model: MicroModel, session: LiteRtSession) -> int:
    """Exactly one input of whole frames and one score; returns the frames of a step."""
    inputs, outputs = session.inputs, session.outputs
    shape = inputs[0].shape if len(inputs) == 1 else ()
    whole = len(shape) == 3 and (shape[0], shape[2]) == (1, BANDS)
    if not (whole and 1 <= shape[1] <= LARGEST_STRIDE and _quantised(inputs[0])):
        allowed = f"one of 8 bits, [1, 1 to {LARGEST_STRIDE}, {BANDS}]"
        raise _wrong(model, "input", inputs, allowed)
    if not (len(outputs) == 1 and math.prod(outputs[0].shape) == 1 and _quantised(outputs[0])):
        raise _wrong(model, "output", outputs, "one score of 8 bits")
    return shape[1]


def _quantised(spec: TensorSpec) -> bool:
    return spec.dtype in ("int8", "uint8") and math.isfinite(spec.scale) and spec.scale > 0.0


def _wrong(model: MicroModel, kind: str, specs: tuple[TensorSpec, ...], allowed: str) -> ModelError:
    found = ", ".join(f"{spec.dtype} {list(spec.shape)}" for spec in specs) or "none"
    return ModelError(
        f"{model.network}: {kind} is {found}, {allowed} expected: no streaming microWakeWord "
        "network; take the .tflite that belongs to the manifest"
    )
