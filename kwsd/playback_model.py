"""A keyword's model on a signal that matters only while the loudspeaker plays.

Without playback it rests and forgets, so a silent device pays nothing.
"""

from __future__ import annotations

from collections import deque

from kwsd.block import FloatArray
from kwsd.model.stream import Score, ScoreStream


class PlaybackModel:
    """A model that is awake while something plays, with the decision's moving average.

    Parameters
    ----------
    stream : ScoreStream
        An own instance of the model, with its own state.
    smoothing_steps : int
        Model steps in the moving average; steps that have not been count as 0.
    """

    def __init__(self, stream: ScoreStream, smoothing_steps: int) -> None:
        self._stream = stream
        self._steps = smoothing_steps
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._stream.reset()
        self._recent: deque[float] = deque(maxlen=self._steps)
        self._fresh = True

    def process(self, frames: FloatArray, end_sample: int, playing: bool) -> list[Score]:
        """Take the next frames of the signal.

        Parameters
        ----------
        frames : ndarray, float32 [k, bands]
            Features of the model's kind.
        end_sample : int
            Sample position of the end of the last of them.
        playing : bool
            Whether the loudspeaker plays; the model runs only then.

        Returns
        -------
        list of Score
            Smoothed, one a step.
        """
        if not playing:
            if not self._fresh:
                self.reset()
            return []
        self._fresh = False
        return [self._smoothed(score) for score in self._stream.process(frames, end_sample)]

    def _smoothed(self, score: Score) -> Score:
        self._recent.append(score.value)
        return Score(score.end_sample, sum(self._recent) / self._steps)
