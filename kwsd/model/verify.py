"""Proof of a runtime: it must reproduce the steps that are recorded in a package."""

from __future__ import annotations

import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import ModelError
from kwsd.model.package import ModelPackage
from kwsd.runtime.base import Session

LARGEST_CONTENT_BYTES = 64 << 20
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
        with np.load(file, allow_pickle=False) as arrays_file:
            arrays = {name: arrays_file[name] for name in arrays_file.files}
    except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} cannot be read: {error}; install the package again") from None
    for spec in (*package.inputs, *package.outputs):
        want = (package.vectors.steps, *spec.shape)
        got = arrays.get(spec.name)
        if got is None or got.shape != want or got.dtype != np.dtype(spec.dtype):
            found = "missing" if got is None else f"{got.dtype} {list(got.shape)}"
            raise ModelError(f"{file}: {spec.name} is {found}, expected {spec.dtype} {list(want)}")
    return arrays


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
            limit = allowed * _WIDE_UNITS if spec.dtype == "int16" else allowed
            if difference > limit:
                raise ModelError(
                    f"model {package.name}: step {step} gives {spec.name} off by {difference}, "
                    f"allowed {limit}: this runtime does not compute the model"
                )
    return worst
