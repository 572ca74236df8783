"""Reference watch: does the loudspeaker itself say the word?

The keyword's model also runs on the reference. If it finds the word there, a detection of the same
moment is the device's own voice, left over by the echo canceller. The model rests while the
reference is silent, so a device that plays nothing pays nothing.
"""

from __future__ import annotations

from collections import deque

from kwsd.block import SAMPLE_RATE_HZ, FloatArray
from kwsd.model.stream import Score, ScoreStream

# The word in the reference counts for this long: echo path and room let the microphone's copy end
# later.
_HOLD_SAMPLES = SAMPLE_RATE_HZ


class ReferenceWatch:
    """One keyword's model on the reference.

    Parameters
    ----------
    stream : ScoreStream
        An own instance of the model, with its own state.
    threshold : float
        Smoothed score from which the word counts as said.
    smoothing_steps : int
        Model steps in the moving average.
    """

    def __init__(self, stream: ScoreStream, threshold: float, smoothing_steps: int) -> None:
        self._stream = stream
        self._threshold = threshold
        self._steps = smoothing_steps
        self._fresh = True
        self.reset()

    def reset(self) -> None:
        """Start again after a gap."""
        self._rest()
        self._said_at: int | None = None

    def process(self, frames: FloatArray, end_sample: int, playing: bool) -> None:
        """Take the next frames of the reference as the front end aligned it.

        Parameters
        ----------
        frames : ndarray, float32 [k, bands]
            Features of the model's kind.
        end_sample : int
            Sample position of the end of the last of them.
        playing : bool
            Whether the reference is active; the model runs only then.
        """
        if not playing:
            if not self._fresh:
                self._rest()
            return
        self._fresh = False
        for score in self._stream.process(frames, end_sample):
            self._push(score)

    def said_before(self, sample: int) -> bool:
        """True if the reference said the word within the last second before `sample`."""
        return self._said_at is not None and abs(sample - self._said_at) <= _HOLD_SAMPLES

    def _push(self, score: Score) -> None:
        self._recent.append(score.value)
        if sum(self._recent) / self._steps >= self._threshold:
            self._said_at = score.end_sample

    def _rest(self) -> None:
        self._fresh = True
        self._stream.reset()
        self._recent: deque[float] = deque(maxlen=self._steps)
