"""Feature track: one feature definition on one signal, with its position in the stream.

Models may have been trained on different features. The chain keeps one track for each definition
that is in use, so models of one kind share the work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kwsd.dsp import features
from kwsd.dsp.features import FeatureStream, FloatArray


class FeatureSource(Protocol):
    """Audio to feature frames; the same frames however the audio is cut."""

    def process(self, pcm: FloatArray, /) -> FloatArray:
        """float32 [samples] to the float32 [frames, bands] that they complete."""

    def reset(self) -> None:
        """Forget the past."""


@dataclass(frozen=True)
class FeatureKind:
    """A feature definition."""

    name: str
    """For people."""

    frame_samples: int
    """Length of the audio behind one frame."""

    hop_samples: int
    """Distance of two frames."""

    open: Callable[[], FeatureSource]
    """Makes one that has heard nothing."""


PCEN = FeatureKind("pcen", features.FRAME_SAMPLES, features.HOP_SAMPLES, FeatureStream)
"""Of our own packages; see `kwsd.dsp.features`."""


class FeatureTrack:
    """One definition on one signal.

    Parameters
    ----------
    kind : FeatureKind
        The definition.
    """

    def __init__(self, kind: FeatureKind) -> None:
        self.kind = kind
        self._source = kind.open()
        self.reset(0)

    def reset(self, start_sample: int) -> None:
        """Start again after a gap; the next audio begins at a stream position."""
        self._source.reset()
        self.end_sample = start_sample + self.kind.frame_samples - self.kind.hop_samples
        """Stream position just behind the newest frame."""

    def process(self, audio: FloatArray, ready: FloatArray | None = None) -> FloatArray:
        """Take the next audio.

        Parameters
        ----------
        audio : ndarray, float32 [samples]
            Follows the last one without a gap.
        ready : ndarray, float32 [frames, bands], optional
            The frames, where the front end has computed them already.

        Returns
        -------
        ndarray, float32 [frames, bands]
        """
        frames = self._source.process(audio) if ready is None else ready
        self.end_sample += len(frames) * self.kind.hop_samples
        return frames
