"""Checks of a model package beyond single values: files and hashes, tensors that fit each other."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kwsd.digest import sha256_hex
from kwsd.dsp import features
from kwsd.errors import MissingFileError, ModelError
from kwsd.model.fields import Fields

if TYPE_CHECKING:
    from kwsd.model.package import ModelPackage

LARGEST_FILE_BYTES = 16 << 20
LARGEST_TENSOR = 1 << 20


def _hash(file: Path) -> str:
    try:
        size = file.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise ModelError(
                f"{file} has {size} bytes, allowed {LARGEST_FILE_BYTES}; install the package again"
            )
        return sha256_hex(file.read_bytes())
    except OSError as error:
        raise MissingFileError(f"{file} cannot be read: {error.strerror}") from None


def check_files(path: Path, table: Fields, needed: tuple[str, ...]) -> None:
    """Every listed file is there, is small enough and has its hash; the needed ones are listed."""
    names = table.keys()
    for name in needed:
        if name not in names:
            raise ModelError(f"{table.where(name)} is missing: the file is part of every package")
    for name in names:
        want = table.text(name)
        if Path(name).name != name or name in ("", ".", "..") or "\0" in name:
            raise ModelError(
                f"{table.where(name)}: only plain file names, inside the package, are allowed"
            )
        file = path / name
        if not os.path.isfile(file):
            raise MissingFileError(f"model package {path} lacks {name}: install the package again")
        got = _hash(file)
        if got != want:
            raise ModelError(
                f"{file} has sha256 {got[:12]}…, model.toml says {want[:12]}…: the file "
                "was changed or damaged; install the package again"
            )
    table.finish()


def check_graph(where: str, package: ModelPackage) -> None:
    """Names, shapes and scales fit each other."""
    inputs = {tensor.name: tensor for tensor in package.inputs}
    outputs = {tensor.name: tensor for tensor in package.outputs}
    if len(inputs) != len(package.inputs) or len(outputs) != len(package.outputs):
        raise ModelError(f"{where}: two tensors of one role share a name")
    if package.feature_input not in inputs or package.score_output not in outputs:
        raise ModelError(
            f"{where}: stream.feature_input = {package.feature_input!r} and stream.score_output = "
            f"{package.score_output!r} must name an input and an output of [[tensor]]"
        )
    for tensor in (*package.inputs, *package.outputs):
        limits = np.iinfo(tensor.dtype)
        if not limits.min <= tensor.zero_point <= limits.max:
            raise ModelError(
                f"{where}: tensor {tensor.name} has zero_point {tensor.zero_point}, {tensor.dtype} "
                f"holds {limits.min} to {limits.max}"
            )
        if math.prod(tensor.shape) > LARGEST_TENSOR:
            raise ModelError(
                f"{where}: tensor {tensor.name} has {math.prod(tensor.shape)} elements, allowed "
                f"{LARGEST_TENSOR}"
            )
    fed = inputs[package.feature_input]
    if fed.shape != (1, package.frames_per_step, 1, features.BANDS):
        raise ModelError(
            f"{where}: tensor {fed.name} has shape {list(fed.shape)}, expected "
            f"[1, {package.frames_per_step}, 1, {features.BANDS}]"
        )
    score = outputs[package.score_output]
    limits = np.iinfo(score.dtype)
    top = score.scale * (limits.max - score.zero_point)
    # Half of a symmetric int16 probability is never used.
    wide = score.dtype == "int16" and score.zero_point == 0
    bottom = 0.0 if wide else score.scale * (limits.min - score.zero_point)
    if math.prod(score.shape) != 1 or not -0.01 < bottom <= top < 1.01:
        raise ModelError(
            f"{where}: tensor {score.name} has shape {list(score.shape)} and holds {bottom:g} to "
            f"{top:g}, expected one value between 0 and 1"
        )
    for state in package.states:
        if state.input not in inputs or state.output not in outputs:
            raise ModelError(f"{where}: state {state.name} names a tensor that is not there")
        a, b = inputs[state.input], outputs[state.output]
        if (a.shape, a.dtype, a.scale, a.zero_point) != (b.shape, b.dtype, b.scale, b.zero_point):
            raise ModelError(
                f"{where}: state {state.name}: input and output differ in shape, type, scale or "
                "zero point; a state must go round unchanged"
            )
    fed_names = {package.feature_input, *(state.input for state in package.states)}
    if fed_names != set(inputs):
        raise ModelError(
            f"{where}: inputs {sorted(set(inputs) - fed_names)} are neither features nor states"
        )
    if len(fed_names) != 1 + len(package.states):
        raise ModelError(f"{where}: two [[state]] tables feed one input, or one feeds the features")
    levels = [package.sensitivities[name].threshold for name in ("low", "medium", "high")]
    if not 1.0 > levels[0] >= levels[1] >= levels[2] > 0.0:
        raise ModelError(
            f"{where}: thresholds low, medium, high = {levels} must fall and lie between 0 and 1"
        )
    if package.kind == "wake" and len(package.labels) != 1:
        raise ModelError(f"{where}: labels = {list(package.labels)}, a wake package has one")
