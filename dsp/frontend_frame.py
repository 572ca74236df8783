"""What the DSP stage gives, the same from both of its twins, and by how much it lags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.interference import DELAY_SAMPLES
from kwsd.dsp.metrics import FrontEndMetrics
from kwsd.dsp.suppressor import VOICE_DELAY_SAMPLES

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BranchDelays:
    """By how much what a branch gives lags the input of the same stream position."""

    detector_samples: int = 0
    """Of the detector branch."""

    voice_samples: int = 0
    """Of the voice branch."""

    def of(self, signal: str) -> int:
        """Of a signal of `FrontEndFrame`; the others do not lag."""
        if signal == "detector":
            return self.detector_samples
        return self.voice_samples if signal == "voice" else 0


def branch_delays(config: FrontEndConfig, microphones: int) -> BranchDelays:
    """Of a front end: two combined microphones wait for each other, the suppressor for a block."""
    detector = DELAY_SAMPLES if config.combine and microphones == 2 else 0
    return BranchDelays(detector, VOICE_DELAY_SAMPLES if config.voice_branch else detector)


@dataclass(frozen=True)
class FrontEndFrame:
    """What a call of `FrontEnd.process` completes; the four signals have equal length."""

    start_sample: int
    """Stream position of the first sample of `detector`."""

    detector: FloatArray
    """float32 [n], behind linear cancellers only."""

    voice: FloatArray
    """float32 [n], cleaned for people and recognisers."""

    residual: FloatArray
    """float32 [n], one microphone behind its echo canceller; the detector branch itself where
    microphones are not combined."""

    reference: FloatArray
    """float32 [n], the reference as the canceller saw it; zeros without one."""

    metrics: FrontEndMetrics
    """State at the end of the frame."""

    features: Mapping[str, FloatArray] = field(default_factory=dict)
    """Signal (``detector``, ``voice``, ``residual``, ``reference``) to float32 [k, 40] as
    `kwsd.dsp.features.FeatureStream` gives them; signals whose features the stage leaves to its
    caller are not in it."""

    delays: BranchDelays = BranchDelays()
    """How far the branches lag."""
