"""Streaming use of a microWakeWord network: feature frames in, one score for each step out."""

from __future__ import annotations

import numpy as np

from kwsd.microwakeword.features import BANDS, HOP_SAMPLES
from kwsd.microwakeword.network import FloatArray, MicroMemory, MicroNetwork
from kwsd.model.stream import Score, whole_steps


class MicroStream:
    """One stream through one network; a `kwsd.model.stream.ScoreStream`.

    Parameters
    ----------
    network : MicroNetwork
        May be shared by streams: each has an interpreter of its own.
    """

    def __init__(self, network: MicroNetwork) -> None:
        self._network = network
        self._hop_samples = network.model.step_ms // 10 * HOP_SAMPLES
        self._memory: MicroMemory | None = None
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._held = np.zeros((0, BANDS), np.float32)
        if self._memory is not None:
            self._memory.close()
        # Opened with the next step: streams that rest, on a silent reference, cost no memory.
        self._memory = None

    def process(self, frames: FloatArray, end_sample: int) -> list[Score]:
        """Run the steps that new frames complete.

        Parameters
        ----------
        frames : ndarray, float32 [frames, BANDS]
            New frames of `MicroFeatures`, any number.
        end_sample : int
            Stream position just behind the last sample of the last frame.

        Returns
        -------
        list of Score
            One a step, oldest first.
        """
        held = np.concatenate([self._held, frames])
        stride = self._network.stride
        steps = whole_steps(held, stride, end_sample, self._hop_samples)
        scores = [Score(end, self._step(step)) for step, end in steps]
        self._held = held[len(held) // stride * stride :].copy()
        return scores

    def _step(self, frames: FloatArray) -> float:
        if self._memory is None:
            self._memory = self._network.remember()
        return self._memory.step(frames)
