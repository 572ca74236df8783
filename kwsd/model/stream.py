"""Streaming use of a model: feature frames in, one score for each step out; holds the state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.features import BANDS, HOP_SAMPLES
from kwsd.errors import AudioError
from kwsd.model.package import ModelPackage, TensorSpec
from kwsd.runtime.base import Session

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """The model's answer for one step."""

    end_sample: int
    """Stream position just behind the newest sample that it has heard."""

    value: float
    """Probability of the word, 0 to 1, not smoothed."""


class ScoreStream(Protocol):
    """Feature frames to scores, with a memory; `StreamingModel` is one."""

    def process(self, frames: FloatArray, end_sample: int) -> list[Score]:
        """Scores of the steps that these frames complete; the last frame ends at a sample."""

    def reset(self) -> None:
        """Forget the past."""


def whole_steps(
    frames: FloatArray, step: int, end_sample: int, hop_samples: int
) -> Iterator[tuple[FloatArray, int]]:
    """Cut frames into whole steps, each with the stream position just behind its last sample.

    Parameters
    ----------
    frames : ndarray, float32 [frames, bands]
        Held and new frames.
    step : int
        Frames of one step; what is left over at the end is for the next call.
    end_sample : int
        Stream position just behind the last frame.
    hop_samples : int
        Distance of two frames.
    """
    for end in range(step, len(frames) + 1, step):
        yield frames[end - step : end], end_sample - (len(frames) - end) * hop_samples


def quantise(real: FloatArray, spec: TensorSpec) -> NDArray[np.generic]:
    """Real values to the stored type of a tensor: round half to even, saturate."""
    low, high = _limits(spec.dtype)
    stored = np.rint(real / np.float32(spec.scale)) + spec.zero_point
    # Not np.clip: its wrappers cost more than the work, fifty times a second.
    return np.asarray(np.minimum(np.maximum(stored, low), high), dtype=spec.dtype)


@cache
def _limits(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


class StreamingModel:
    """One stream through one model.

    Parameters
    ----------
    package : ModelPackage
        Tensors and state pairs.
    session : Session
        The loaded network; may be shared by streams, since the state lives here.
    """

    def __init__(self, package: ModelPackage, session: Session) -> None:
        self._package, self._session = package, session
        self._input = package.tensor(package.feature_input)
        self._score = package.tensor(package.score_output)
        self.reset()

    def reset(self) -> None:
        """Forget what was heard: every state back to real zero."""
        self._held = np.zeros((0, BANDS), np.float32)
        self._state = {
            pair.input: np.full(spec.shape, spec.zero_point, spec.dtype)
            for pair in self._package.states
            for spec in (self._package.tensor(pair.input),)
        }

    def process(self, frames: FloatArray, end_sample: int) -> list[Score]:
        """Run the steps that new frames complete.

        Parameters
        ----------
        frames : ndarray, float32 [frames, BANDS]
            New feature frames, any number.
        end_sample : int
            Stream position just behind the last sample of the last frame.

        Returns
        -------
        list of Score
            One a step, oldest first.

        Raises
        ------
        AudioError
            A feature is not finite; nothing of this call has been taken.
        """
        if not np.isfinite(frames).all():
            raise AudioError(
                f"features before sample {end_sample} are not finite: the model was not run on "
                "them; look for NaN in the audio and reset the stream"
            )
        step = self._package.frames_per_step
        held = np.concatenate([self._held, frames])
        steps = whole_steps(held, step, end_sample, HOP_SAMPLES)
        scores = [Score(end, self._step(part)) for part, end in steps]
        self._held = held[len(held) // step * step :].copy()
        return scores

    def _step(self, frames: FloatArray) -> float:
        stored = quantise(frames, self._input).reshape(self._input.shape)
        outputs = self._session.step({self._input.name: stored, **self._state})
        # Only a whole step counts: whatever fails before this line leaves the state as it was.
        self._state = {pair.input: outputs[pair.output] for pair in self._package.states}
        value = float(outputs[self._score.name].reshape(-1)[0])
        return (value - self._score.zero_point) * self._score.scale
