"""Branch ear: a keyword's model on one more branch of the front end, while the loudspeaker plays.

Echo cancellers fail in different places: what the interference canceller or the residual
suppressor takes from one word of the talker it leaves of another. Under playback a model on every
branch finds words that a model on the best one misses (docs/benchmarks/echo.md). Without playback
the ear rests, so the false accepts that a model's card states stay what they are, and a silent
device pays nothing.
"""

from __future__ import annotations

from collections import deque

from kwsd.block import FloatArray
from kwsd.model.stream import Score, ScoreStream
from kwsd.playback_model import PlaybackModel


class BranchEar:
    """One keyword's model on a further branch.

    Parameters
    ----------
    signal : str
        The branch, a name in `kwsd.dsp.native.SIGNALS`.
    stream : ScoreStream
        An own instance of the model, with its own state.
    smoothing_steps : int
        Model steps in the moving average, as in the decision.
    """

    def __init__(self, signal: str, stream: ScoreStream, smoothing_steps: int) -> None:
        self.signal = signal
        self._model = PlaybackModel(stream, smoothing_steps)
        self._heard: deque[Score] = deque()

    def reset(self) -> None:
        """Forget what was heard: after a gap."""
        self._model.reset()
        self._heard.clear()

    def process(self, frames: FloatArray, end_sample: int, playing: bool) -> None:
        """Take the next frames of the branch; see `PlaybackModel.process`."""
        if not playing:
            self._heard.clear()
        self._heard += self._model.process(frames, end_sample, playing)

    def smoothed_at(self, sample: int) -> float:
        """Smoothed score of the newest step that ended by a sample; later calls ask no earlier."""
        while len(self._heard) > 1 and self._heard[1].end_sample <= sample:
            self._heard.popleft()
        if not self._heard or self._heard[0].end_sample > sample:
            return 0.0
        return self._heard[0].value
