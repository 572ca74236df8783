"""LiteRT (`ai_edge_litert`), or `tflite_runtime` where only that exists: the CPU."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import ModelError, RuntimeUnavailable
from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.runtime.base import Probe, Tensors

MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


def _interpreter_module() -> Any:
    """The first interpreter that imports."""
    reasons = []
    for name in MODULES:
        try:
            return importlib.import_module(name)
        # A wheel for another numpy or libc fails with more than ImportError.
        except (ImportError, SystemError, OSError, AttributeError) as error:
            reasons.append(f"{name.split('.')[0]}: {error}")
    raise RuntimeUnavailable(
        "no TensorFlow Lite interpreter (" + "; ".join(reasons) + "): pip install ai-edge-litert"
    )


class LiteRtRuntime:
    """Runtime `litert`."""

    name = "litert"

    def probe(self) -> Probe:
        """Import the interpreter."""
        try:
            return Probe(True, str(_interpreter_module().__name__.split(".")[0]))
        except RuntimeUnavailable as error:
            return Probe(False, str(error))

    def open(self, package: ModelPackage) -> LiteRtSession:
        """Load the network and compare its tensors with the package's."""
        return LiteRtSession(package, _interpreter_module())


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(n) for n in detail["shape"])
    return TensorSpec(
        detail["name"], shape, np.dtype(detail["dtype"]).name, float(scale), int(zero_point)
    )


def _compare(where: str, kind: str, said: tuple[TensorSpec, ...], real: list[TensorSpec]) -> None:
    by_name = {spec.name: spec for spec in real}
    if set(by_name) != {spec.name for spec in said}:
        raise ModelError(
            f"{where}: {kind}s are {sorted(by_name)}, "
            f"model.toml says {sorted(s.name for s in said)}"
        )
    for spec in said:
        got = by_name[spec.name]
        if (got.shape, got.dtype, got.zero_point) != (spec.shape, spec.dtype, spec.zero_point) or (
            abs(got.scale - spec.scale) > 1e-6 * spec.scale
        ):
            raise ModelError(f"{where}: {kind} {spec.name} is {got}, model.toml says {spec}")


class LiteRtSession:
    """One interpreter, one thread.

    Parameters
    ----------
    package : ModelPackage
        Says which tensors must be there.
    module : module
        ``ai_edge_litert.interpreter`` or ``tflite_runtime.interpreter``.

    Raises
    ------
    ModelError
        The file is no network or has other tensors.
    """

    def __init__(self, package: ModelPackage, module: Any) -> None:
        self.inputs, self.outputs = package.inputs, package.outputs
        where = str(package.network)
        try:
            interpreter = module.Interpreter(model_path=where, num_threads=1)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0]
            raise ModelError(
                f"{where} cannot be loaded: {first}; install the package again"
            ) from None
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        _compare(where, "input", self.inputs, [_spec(d) for d in inputs])
        _compare(where, "output", self.outputs, [_spec(d) for d in outputs])
        self._interpreter = interpreter
        self._input_index = {d["name"]: d["index"] for d in inputs}
        self._output_index = {d["name"]: d["index"] for d in outputs}

    def step(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Set, invoke, get; the arrays that come back are copies."""
        for name, index in self._input_index.items():
            self._interpreter.set_tensor(index, inputs[name])
        self._interpreter.invoke()
        return {n: self._interpreter.get_tensor(i) for n, i in self._output_index.items()}

    def close(self) -> None:
        """Drop the interpreter."""
        self._interpreter = None
