"""Model packages with a graph for the double."""

import hashlib
import shutil
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from aipu_double.container import container

from kwsd.model.package import (
    ModelPackage,
    StatePair,
    TensorSpec,
    Timing,
    Vectors,
    load_package,
)
from kwsd.runtime.aipu.manifest import tensor_bytes
from kwsd.runtime.aipu.status import DATA_TYPES

FEATURES = TensorSpec("features", (1, 2, 1, 40), "int8", 0.02, 0)
STATE_IN = TensorSpec("s0_in", (1, 4, 1, 8), "int8", 0.05, -3)
STATE_OUT = replace(STATE_IN, name="s0_out")
SCORE = TensorSpec("prob", (1, 1), "int8", 1 / 256, -128)


def affine(inputs):
    """What the double computes without a reference: output k is input k plus k + 1."""
    return {
        "prob": (inputs["features"].reshape(-1)[:1] + np.int8(1)).reshape(SCORE.shape),
        "s0_out": inputs["s0_in"] + np.int8(2),
    }


def random_inputs(seed=0):
    """Inputs of one step, far from saturation."""
    rng = np.random.default_rng(seed)
    return {s.name: rng.integers(-90, 90, s.shape, np.int8) for s in (FEATURES, STATE_IN)}


class AffineSession:
    """The same on the CPU: the runtime that always works."""

    def __init__(self):
        self.steps, self.closed = 0, 0

    def step(self, inputs):
        """Compute and count."""
        self.steps += 1
        return affine(inputs)

    def close(self):
        """Count."""
        self.closed += 1


def affine_package(folder):
    """A package whose network is `affine`, compiled for the double."""
    folder.mkdir()
    steps = [random_inputs(seed) for seed in range(4)]
    columns = [{**step, **affine(step)} for step in steps]
    arrays = {name: np.stack([step[name] for step in columns]) for name in columns[0]}
    np.savez(folder / "vectors.npz", **arrays)
    package = ModelPackage(
        path=folder,
        name="affine",
        version="1.0.0",
        kind="wake",
        phrase="affine",
        labels=("affine",),
        frames_per_step=2,
        feature_input="features",
        score_output="prob",
        smoothing_steps=1,
        inputs=(FEATURES, STATE_IN),
        outputs=(SCORE, STATE_OUT),
        states=(StatePair("s0", "s0_in", "s0_out"),),
        sensitivities=MappingProxyType({}),
        timing=Timing(0.0, 500.0),
        vectors=Vectors("vectors.npz", len(steps), 0),
        licence="CC0-1.0",
    )
    compile_for_double(package)
    return package


def compile_for_double(package, inputs=None, outputs=None, tolerance=0, **header):
    """Write graph and manifest beside a package, as a compiler would."""
    inputs, outputs = inputs or package.inputs, outputs or package.outputs
    tables = [
        # The compiler's convention: inverse scale, negated zero point.
        [(tensor_bytes(s), DATA_TYPES[s.dtype], 1 / s.scale, -s.zero_point) for s in specs]
        for specs in (inputs, outputs)
    ]
    graph = container(*tables, **header)
    (package.path / "model.aipu.bin").write_bytes(graph)
    lines = [
        "format = 1",
        'target = "Z1_0701"',
        f'sha256 = "{hashlib.sha256(graph).hexdigest()}"',
        f"tolerance = {tolerance}",
    ]
    for role, specs in (("input", inputs), ("output", outputs)):
        for spec in specs:
            lines += [
                "[[tensor]]",
                f'name = "{spec.name}"',
                f'role = "{role}"',
                f"shape = {list(spec.shape)}",
                f'dtype = "{spec.dtype}"',
                f"scale = {spec.scale!r}",
                f"zero_point = {spec.zero_point}",
            ]
    (package.path / "model.aipu.toml").write_text("\n".join(lines) + "\n")


def compiled_copy(folder, source):
    """A copy of a package on disk with a graph for the double; gives the loaded package."""
    shutil.copytree(source, folder)
    package = load_package(folder)
    compile_for_double(package)
    return package
