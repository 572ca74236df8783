"""Reference watch: does the loudspeaker itself say the word?

The keyword's model also runs on the reference. If it finds the word there, a detection of the same
moment is the device's own voice, left over by the echo canceller. The model rests while the
reference is silent, so a device that plays nothing pays nothing.
"""

from __future__ import annotations

from kwsd.block import SAMPLE_RATE_HZ, FloatArray
from kwsd.model.stream import ScoreStream
from kwsd.playback_model import PlaybackModel

# The word in the reference counts for this long: echo path and room let the microphone's copy end
# later.
HOLD_SAMPLES = SAMPLE_RATE_HZ


class ReferenceWatch:
    """One keyword's model on the reference.

    Parameters
    ----------
    stream : ScoreStream
        An own instance of the model, with its own state.
    threshold : float
        See the attribute.
    smoothing_steps : int
        Model steps in the moving average.
    """

    def __init__(self, stream: ScoreStream, threshold: float, smoothing_steps: int) -> None:
        self._model = PlaybackModel(stream, smoothing_steps)
        self.threshold = threshold
        """Smoothed score from which the word counts as said; may be changed at any time."""

        self.reset()

    def reset(self) -> None:
        """Start again after a gap."""
        self._model.reset()
        self._said_at: int | None = None

    def process(self, frames: FloatArray, end_sample: int, playing: bool) -> None:
        """Take the next frames of the reference; see `PlaybackModel.process`."""
        for score in self._model.process(frames, end_sample, playing):
            if score.value >= self.threshold:
                self._said_at = score.end_sample

    def said_before(self, sample: int) -> bool:
        """True if the reference said the word within the last second before `sample`."""
        return self._said_at is not None and abs(sample - self._said_at) <= HOLD_SAMPLES
