"""Calibration: inputs of real steps, states included, for compilers that quantise again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.assemble import build_chain, decision_config, keyword_of
from kwsd.chain import Keyword
from kwsd.config import Config
from kwsd.decision import Decision
from kwsd.errors import AudioError
from kwsd.event import ModelIdentity
from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.model.stream import StreamingModel
from kwsd.model.verify import load_vectors
from kwsd.runtime.base import Session, Tensors
from kwsd.runtime.litert import LiteRtRuntime
from kwsd.source.file import open_audio

Steps = dict[str, NDArray[Any]]

LARGEST_STEPS = 512
"""Kept steps: more slow a compiler down and teach it nothing."""


class StepRecorder:
    """A session that keeps the inputs of its steps, evenly spread over a stream of any length.

    Parameters
    ----------
    session : Session
        Computes the steps.
    largest : int
        Steps to keep at most.
    """

    def __init__(self, session: Session, largest: int = LARGEST_STEPS) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self._session, self._largest = session, largest
        self._kept: list[Steps] = []
        self._distance, self._seen = 1, 0

    def step(self, inputs: Tensors) -> Steps:
        """One step, perhaps kept."""
        if self._seen % self._distance == 0:
            self._kept.append({name: np.array(value) for name, value in inputs.items()})
            if len(self._kept) > self._largest:
                self._kept = self._kept[::2]
                self._distance *= 2
        self._seen += 1
        return self._session.step(inputs)

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def steps(self) -> Steps:
        """What was kept: by input ``[steps, *shape]``, stored integers."""
        if not self._kept:
            return {}
        return {name: np.stack([step[name] for step in self._kept]) for name in self._kept[0]}


def record_steps(package: ModelPackage, recordings: Sequence[Path], config: Config) -> Steps:
    """Inputs of the steps that recordings cause in the daemon's chain.

    Parameters
    ----------
    package : ModelPackage
        The model.
    recordings : sequence of Path
        WAV or FLAC files, with the word and without; none takes the package's vectors.
    config : Config
        Channels and front end.

    Returns
    -------
    dict of str to ndarray
        By input ``[steps, *shape]``, stored integers, at most `LARGEST_STEPS`.

    Raises
    ------
    AudioError
        A recording cannot be read, or all of them are shorter than a step.
    """
    if not recordings:
        arrays = load_vectors(package)
        return {spec.name: arrays[spec.name] for spec in package.inputs}
    recorder = StepRecorder(LiteRtRuntime().open(package))
    try:
        for path in recordings:
            _stream(package, path, config, recorder)
    finally:
        recorder.close()
    steps = recorder.steps()
    if not steps:
        raise AudioError("the recordings are shorter than one step of the model; give longer ones")
    return steps


def _stream(package: ModelPackage, path: Path, config: Config, recorder: StepRecorder) -> None:
    identity = ModelIdentity(keyword_of(package), package.name, package.version, "litert")
    stream = StreamingModel(package, recorder)
    keyword = Keyword(identity, stream, Decision(decision_config(config, package)))
    source = open_audio(str(path), config.audio.mics, config.audio.reference)
    try:
        chain = build_chain(config, source.info, [keyword])
        for block in source.blocks():
            chain.process(block)
        chain.flush()
    finally:
        source.close()


def real_values(stored: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """Stored integers as the numbers that they stand for."""
    return ((stored.astype(np.float32) - spec.zero_point) * spec.scale).astype(np.float32)
