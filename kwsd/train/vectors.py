"""Proof steps of a package: what one interpreter computes, for every other runtime to repeat.

Each recorded step stands by itself, with its own states, so that a small difference does not grow
over the steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.model.package import StatePair, TensorSpec
from kwsd.model.stream import quantise
from kwsd.runtime.litert import LiteRtSession
from kwsd.train.layers import STRIDE
from kwsd.train.tflite_writer import FEATURE_INPUT, SCORE_OUTPUT

FloatArray = NDArray[np.float32]
Step = dict[str, NDArray[Any]]

STEPS = 32


@dataclass(frozen=True)
class Recording:
    """A network's tensors and some of its steps."""

    inputs: tuple[TensorSpec, ...]
    """Inputs as the interpreter reports them."""

    outputs: tuple[TensorSpec, ...]
    """Outputs likewise."""

    states: tuple[StatePair, ...]
    """Which output becomes which input of the next step."""

    vectors: Step
    """For each tensor its values in every recorded step, ``[steps, *shape]``."""


def state_pairs(inputs: tuple[TensorSpec, ...]) -> tuple[StatePair, ...]:
    """Pairs by the writer's naming: ``s0_in`` and ``s0_out``."""
    names = [t.name.removesuffix("_in") for t in inputs if t.name != FEATURE_INPUT]
    return tuple(StatePair(name, f"{name}_in", f"{name}_out") for name in names)


def record(network: bytes, features: FloatArray, steps: int = STEPS) -> Recording:
    """Run a network over a real feature stream and keep some steps.

    Parameters
    ----------
    network : bytes
        What `write_tflite` gives.
    features : ndarray, float32 [frames, bands]
        A stream with the word in it, at least `steps` steps long.
    steps : int
        How many steps to keep: evenly spread, and the one with the highest score.

    Raises
    ------
    ValueError
        The stream is too short.
    ModelError, RuntimeUnavailable
        The network cannot be run.
    """
    if not 1 <= steps <= len(features) // STRIDE:
        raise ValueError(f"{steps} steps wanted from {len(features) // STRIDE}: give more features")
    session = LiteRtSession(network, "network")
    try:
        states = state_pairs(session.inputs)
        every = list(_run(session, states, features))
    finally:
        session.close()
    chosen = np.linspace(0, len(every) - 1, steps).astype(int)
    loudest = max(range(len(every)), key=lambda i: int(every[i][SCORE_OUTPUT].item()))
    # In place of its nearest neighbour, so that the number of steps stays.
    chosen[int(np.argmin(np.abs(chosen - loudest)))] = loudest
    names = [t.name for t in (*session.inputs, *session.outputs)]
    vectors = {name: np.stack([every[i][name] for i in chosen]) for name in names}
    return Recording(session.inputs, session.outputs, states, vectors)


def _run(
    session: LiteRtSession, states: tuple[StatePair, ...], features: FloatArray
) -> Iterator[Step]:
    """Every step of the stream: its inputs and outputs together."""
    inputs = {t.name: t for t in session.inputs}
    fed: Step = {}
    for pair in states:
        spec = inputs[pair.input]
        fed[pair.input] = np.full(spec.shape, spec.zero_point, spec.dtype)
    source = inputs[FEATURE_INPUT]
    for start in range(0, len(features) - STRIDE + 1, STRIDE):
        frames = features[start : start + STRIDE]
        fed[FEATURE_INPUT] = quantise(frames, source).reshape(source.shape)
        outputs = session.step(fed)
        yield {**fed, **outputs}
        for pair in states:
            fed[pair.input] = outputs[pair.output]
