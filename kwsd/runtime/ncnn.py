"""NCNN on the CPU: a package's network as `kwsmodel export --format ncnn` writes it.

The network computes the int8 network's whole numbers in float32, so states and scores go in and
out as they are stored; see `kwsd.export.ncnn`.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import RuntimeUnavailable
from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.runtime.base import Probe, Tensors
from kwsd.runtime.failure import RuntimeFailure
from kwsd.runtime.ncnn_manifest import NcnnPart, load_ncnn_part

_OFF = (
    # Half the bits cannot hold the sums of int8 products; ARM builds would take them by default.
    *("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"),
    *("use_bf16_packed", "use_bf16_storage", "use_vulkan_compute"),
    # Blobs are so small that changing their layout costs more than it saves.
    "use_packing_layout",
)


def ncnn_module() -> Any:
    """The bindings.

    Raises
    ------
    RuntimeUnavailable
        They are not installed or do not load.
    """
    try:
        return importlib.import_module("ncnn")
    # A wheel for another numpy or libc fails with more than ImportError.
    except (ImportError, SystemError, OSError, AttributeError) as error:
        raise RuntimeUnavailable(f"{error}: pip install ncnn") from None


class NcnnRuntime:
    """Runtime `ncnn`."""

    name = "ncnn"

    def probe(self) -> Probe:
        """Import the bindings."""
        try:
            return Probe(True, f"ncnn {ncnn_module().__version__}")
        except RuntimeUnavailable as error:
            return Probe(False, str(error))

    def open(self, package: ModelPackage) -> NcnnSession:
        """Load the package's part for NCNN.

        Raises
        ------
        RuntimeUnavailable
            The bindings are not there, or `RuntimeFailure` with ``no-graph``,
            ``manifest-mismatch``, ``not-quantised`` or ``bad-graph``: the package is not for it.
        """
        return NcnnSession(package, load_ncnn_part(package))


class NcnnSession:
    """One network, one thread.

    Parameters
    ----------
    package : ModelPackage
        Names and shapes of the tensors; the blobs ``in0``, ``out0`` and so on are in its order.
    part : NcnnPart
        Checked files.

    Raises
    ------
    RuntimeUnavailable
        NCNN is not there or does not take the files.
    """

    def __init__(self, package: ModelPackage, part: NcnnPart) -> None:
        self.inputs: tuple[TensorSpec, ...] = package.inputs
        self.outputs: tuple[TensorSpec, ...] = package.outputs
        self.tolerance = part.tolerance
        for spec in (*self.inputs, *self.outputs):
            if spec.dtype != "int8":
                raise RuntimeFailure("not-quantised", f"{spec.name} is {spec.dtype}, expected int8")
        module = ncnn_module()
        net = module.Net()
        net.opt.num_threads = 1
        for option in _OFF:
            # Not every version has every one; assigning an unknown one would fail.
            if hasattr(net.opt, option):
                setattr(net.opt, option, False)
        if net.load_param(str(part.param)) != 0 or net.load_model(str(part.weights)) != 0:
            raise RuntimeFailure(
                "bad-graph",
                f"{part.param}: NCNN {module.__version__} does not take it; "
                f"kwsmodel export {package.name} --format ncnn",
            )
        names = {f"in{index}" for index in range(len(self.inputs))}
        if set(net.input_names()) != names:
            raise RuntimeFailure(
                "bad-graph", f"{part.param}: inputs {net.input_names()}, expected {sorted(names)}"
            )
        self._net: Any = net
        # NCNN owns the memory: in-place layers then copy it first, and nothing can go too early.
        self._blobs = [module.Mat(*_size(spec)) for spec in self.inputs]
        self._views: list[NDArray[np.float32]] = [np.asarray(blob) for blob in self._blobs]

    def step(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Set, extract; the arrays that come back are copies.

        Raises
        ------
        RuntimeFailure
            ``graph-error``: NCNN did not compute it; ``bad-graph``: it computes something else.
        """
        extractor = self._net.create_extractor()
        for index, spec in enumerate(self.inputs):
            np.subtract(
                _plain(inputs[spec.name]), spec.zero_point, out=self._views[index], dtype=np.float32
            )
            if extractor.input(f"in{index}", self._blobs[index]) != 0:
                raise RuntimeFailure("graph-error", f"NCNN did not take {spec.name}")
        outputs: dict[str, NDArray[Any]] = {}
        for index, spec in enumerate(self.outputs):
            code, blob = extractor.extract(f"out{index}")
            if code != 0:
                raise RuntimeFailure("graph-error", f"NCNN did not compute {spec.name}: {code}")
            values = np.asarray(blob)
            if values.size != math.prod(spec.shape):
                raise RuntimeFailure(
                    "bad-graph",
                    f"NCNN gives {spec.name} as {list(values.shape)}, {list(spec.shape)} expected",
                )
            outputs[spec.name] = _stored(values, spec)
        return outputs

    def close(self) -> None:
        """Drop the network."""
        self._net = None


def _size(spec: TensorSpec) -> tuple[int, ...]:
    """Of a blob, width first: time and channels, or one dimension."""
    return (spec.shape[1], spec.shape[3]) if len(spec.shape) == 4 else (math.prod(spec.shape),)


def _plain(stored: NDArray[Any]) -> NDArray[Any]:
    """``[1, time, 1, channels]`` as channels by time, others as a row."""
    return stored[0, :, 0, :].T if stored.ndim == 4 else stored.reshape(-1)


def _stored(blob: NDArray[np.float32], spec: TensorSpec) -> NDArray[Any]:
    """The way back, as a copy; the network has rounded and saturated."""
    plain = blob.T if len(spec.shape) == 4 else blob
    return np.add(plain, np.float32(spec.zero_point), order="C").astype(np.int8).reshape(spec.shape)
