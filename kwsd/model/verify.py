"""Proof of a runtime: it must reproduce the steps that are recorded in a package."""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import ModelError, first_line
from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.runtime.base import Session

LARGEST_CONTENT_BYTES = 64 << 20
UNREADABLE = (
    *(ValueError, OSError, EOFError),
    # A member that is encrypted, or packed in a way that is not known.
    RuntimeError,
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
    # An array's header is the text of a Python dictionary.
    *(SyntaxError, tokenize.TokenError, TypeError, IndexError, OverflowError, MemoryError),
)
"""What a damaged archive of arrays raises when it is read."""

_WIDE_UNITS = 128
"""Units of an int16 tensor to one of an int8 tensor of the same range."""


def load_vectors(package: ModelPackage) -> dict[str, NDArray[Any]]:
    """Recorded steps by tensor name, each ``[steps, *shape]``.

    Raises
    ------
    ModelError
        The file cannot be read or does not hold every tensor of the package.
    """
    file = package.path / package.vectors.file
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > LARGEST_CONTENT_BYTES:
                raise ValueError(f"unpacks to {size} bytes, allowed {LARGEST_CONTENT_BYTES}")
            members = set(archive.namelist())
            return {
                spec.name: _steps(file, archive, members, spec, package.vectors.steps)
                for spec in (*package.inputs, *package.outputs)
            }
    except UNREADABLE as error:
        raise ModelError(
            f"{file} cannot be read: {first_line(error)}; install the package again"
        ) from None


def _steps(
    file: Path, archive: zipfile.ZipFile, members: set[str], spec: TensorSpec, steps: int
) -> NDArray[Any]:
    """One tensor's; what its header says is compared before anything is made of it."""
    want, dtype = (steps, *spec.shape), np.dtype(spec.dtype)
    found = "missing"
    if f"{spec.name}.npy" in members:
        with archive.open(f"{spec.name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            if version != (1, 0):
                raise ValueError(f"{spec.name} has array format {version}, written is (1, 0)")
            shape, transposed, stored = np.lib.format.read_array_header_1_0(stream)
            if (shape, stored) == (want, dtype):
                content = stream.read(dtype.itemsize * math.prod(want))
                return np.frombuffer(content, dtype).reshape(want, order="F" if transposed else "C")
        found = f"{stored} {list(shape)}"
    raise ModelError(f"{file}: {spec.name} is {found}, expected {dtype} {list(want)}")


def allowed_units(dtype: str, tolerance: int) -> int:
    """Largest difference of an output, from a tolerance in units of an int8 tensor."""
    return tolerance * _WIDE_UNITS if dtype == "int16" else tolerance


def verify(package: ModelPackage, session: Session, tolerance: int | None = None) -> int:
    """Run every recorded step by itself and compare all outputs.

    Parameters
    ----------
    package : ModelPackage
        With the recorded steps.
    session : Session
        Computes them.
    tolerance : int, optional
        Largest difference that this runtime states for itself, in units of an int8 tensor; the
        package's otherwise.

    Returns
    -------
    int
        Largest difference in stored units.

    Raises
    ------
    ModelError
        An output differs by more than the tolerance.
    """
    allowed = package.vectors.tolerance if tolerance is None else tolerance
    arrays = load_vectors(package)
    worst = 0
    for step in range(package.vectors.steps):
        inputs = {spec.name: arrays[spec.name][step] for spec in package.inputs}
        outputs = session.step(inputs)
        for spec in package.outputs:
            expected = arrays[spec.name][step].astype(np.int64)
            difference = int(np.max(np.abs(outputs[spec.name].astype(np.int64) - expected)))
            worst = max(worst, difference)
            limit = allowed_units(spec.dtype, allowed)
            if difference > limit:
                raise ModelError(
                    f"model {package.name}: step {step} gives {spec.name} off by {difference}, "
                    f"allowed {limit}: this runtime does not compute the model"
                )
    return worst
