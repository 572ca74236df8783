"""Is the loudspeaker playing? What listens beside the detector branch rests while it is not."""

from __future__ import annotations

import numpy as np

from kwsd.block import SAMPLE_RATE_HZ, FloatArray

# Playback below this cannot leave a word behind in the microphone, nor hide one.
_ACTIVE_DBFS = -55.0
# Goes on this long behind the last sound of the reference, to finish a word.
_HANGOVER_SAMPLES = SAMPLE_RATE_HZ


class LoudspeakerActivity:
    """Follows the level of the reference."""

    def __init__(self) -> None:
        self._active_power = 10.0 ** (_ACTIVE_DBFS / 10.0)
        self.reset()

    def reset(self) -> None:
        """Start again after a gap, with silence."""
        self._quiet_samples = _HANGOVER_SAMPLES

    def process(self, reference: FloatArray) -> bool:
        """Take the next piece of the reference, float32 [samples]; True while it plays."""
        power = 0.0
        if reference.any():
            power = float(np.add.reduce(np.square(reference, dtype=np.float64)) / len(reference))
        if power >= self._active_power:
            self._quiet_samples = 0
        elif self._quiet_samples < _HANGOVER_SAMPLES:
            self._quiet_samples += len(reference)
        return self._quiet_samples < _HANGOVER_SAMPLES
