"""LiteRT (`ai_edge_litert`), or `tflite_runtime` where only that exists: the CPU."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import MissingFileError, ModelError, RuntimeUnavailable, first_line
from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.runtime.base import Probe, Tensors

LARGEST_WAKE_WORD_BYTES = 16 << 20
"""Of all tensors of a network together; ours need 0.1 MB."""

MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


def interpreter_module() -> Any:
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
            return Probe(True, str(interpreter_module().__name__.split(".")[0]))
        except RuntimeUnavailable as error:
            return Probe(False, str(error))

    def open(self, package: ModelPackage) -> LiteRtSession:
        """Load the network and compare its tensors with the package's."""
        try:
            content = package.network.read_bytes()
        except OSError as error:
            raise MissingFileError(
                f"{package.network} cannot be read: {error.strerror}; install the package again"
            ) from None
        session = LiteRtSession(content, str(package.network), most_bytes=LARGEST_WAKE_WORD_BYTES)
        _compare(str(package.network), "input", package.inputs, session.inputs)
        _compare(str(package.network), "output", package.outputs, session.outputs)
        return session


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(n) for n in detail["shape"])
    return TensorSpec(
        detail["name"], shape, np.dtype(detail["dtype"]).name, float(scale), int(zero_point)
    )


def _compare(
    where: str, kind: str, said: tuple[TensorSpec, ...], real: tuple[TensorSpec, ...]
) -> None:
    by_name = {spec.name: spec for spec in real}
    if set(by_name) != {spec.name for spec in said}:
        raise ModelError(
            f"{where}: {kind}s are {sorted(by_name)}, "
            f"model.toml says {sorted(s.name for s in said)}; install the package again"
        )
    for spec in said:
        got = by_name[spec.name]
        if (got.shape, got.dtype, got.zero_point) != (spec.shape, spec.dtype, spec.zero_point) or (
            abs(got.scale - spec.scale) > 1e-6 * spec.scale
        ):
            raise ModelError(
                f"{where}: {kind} {spec.name} is {got}, model.toml says {spec}; "
                "install the package again"
            )


def _refuse_large(where: str, details: list[dict[str, Any]], most_bytes: int) -> None:
    size = sum(
        math.prod(int(n) for n in detail["shape"]) * np.dtype(detail["dtype"]).itemsize
        for detail in details
    )
    if size > most_bytes:
        raise ModelError(
            f"{where} needs {size / 2**20:.0f} MiB for its tensors, a wake word may have "
            f"{most_bytes >> 20}: install another package"
        )


class LiteRtSession:
    """One interpreter, one thread.

    Parameters
    ----------
    content : bytes
        The network file.
    where : str
        Its name, for messages.
    delegates : bool
        Allow the interpreter's own delegate: faster, and may round differently by a unit.
    most_bytes : int, optional
        What all of its tensors may hold together. Of a network that comes from elsewhere the file
        says nothing of that: one operator of a few bytes may ask for a gigabyte.

    Raises
    ------
    ModelError
        The bytes are no network that the interpreter can run, or it needs more.
    RuntimeUnavailable
        There is no interpreter.
    """

    def __init__(
        self,
        content: bytes,
        where: str,
        *,
        delegates: bool = True,
        most_bytes: int | None = None,
    ) -> None:
        module = interpreter_module()
        options: dict[str, Any] = {}
        if not delegates:
            plain = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            options["experimental_op_resolver_type"] = plain
        try:
            interpreter = module.Interpreter(model_content=content, num_threads=1, **options)
            interpreter.allocate_tensors()
            if most_bytes is not None:
                # Nothing of it was touched so far.
                _refuse_large(where, interpreter.get_tensor_details(), most_bytes)
            inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
            self.inputs = tuple(_spec(d) for d in inputs)
            self.outputs = tuple(_spec(d) for d in outputs)
        # Also a tensor whose name is no UTF-8, or whose type numpy does not have.
        except (ValueError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"{where} cannot be loaded: {first_line(error)}; install the package again"
            ) from None
        self._where = where
        self._interpreter = interpreter
        self._input_index = {d["name"]: d["index"] for d in inputs}
        self._output_index = {d["name"]: d["index"] for d in outputs}

    def step(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Set, invoke, get; the arrays that come back are copies.

        Raises
        ------
        ModelError
            The network can be loaded and not be run.
        """
        for name, index in self._input_index.items():
            self._interpreter.set_tensor(index, inputs[name])
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{self._where} cannot be run: {first_line(error)}; install the package again"
            ) from None
        return {n: self._interpreter.get_tensor(i) for n, i in self._output_index.items()}

    def close(self) -> None:
        """Drop the interpreter."""
        self._interpreter = None
