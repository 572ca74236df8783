"""Bulk delay between the loudspeaker reference and the microphones, found and tracked.

Generalised cross-correlation with phase transform: C. Knapp and G. Carter, "The generalized
correlation method for estimation of time delay", IEEE Trans. ASSP 24 (1976). The cross-spectrum
is averaged over windows of one second, so a talker and noise average out while the loudspeaker's
path stays. The answer is a whole number of canceller blocks, held with hysteresis: each change
costs the canceller a part of what it has learnt.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.kalman import HOP_SAMPLES

FloatArray = NDArray[np.float32]

WINDOW_SAMPLES = 16_384
UPDATE_BLOCKS = 16
"""A new estimate every 16 blocks: 256 ms."""

MARGIN_SAMPLES = 192
"""The main peak stays this far behind the start of the filter: what comes early is not lost."""

USABLE_SAMPLES = 1600
"""A delay within this much behind the start of the filter needs no change."""

FORGETTING = 0.8
CONFIDENT_RATIO = 8.0
"""Peak over root mean square of the correlation that counts as found."""

AGREEING_ESTIMATES = 2
SILENT_POWER = 1e-9


class DelayTracker:
    """Finds the delay of `microphone` behind `reference`, both given block by block.

    Parameters
    ----------
    search_ms : int
        Largest delay that is looked for.
    """

    def __init__(self, search_ms: int) -> None:
        self._search_samples = min(search_ms * 16, WINDOW_SAMPLES // 2)
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a gap."""
        self._mic = np.zeros(WINDOW_SAMPLES, np.float32)
        self._reference = np.zeros(WINDOW_SAMPLES, np.float32)
        self._cross = np.zeros(WINDOW_SAMPLES // 2 + 1, np.complex64)
        self._blocks = 0
        self._candidate = -1
        self._agreeing = 0
        self.delay_samples: int | None = None
        """Where the loudspeaker's sound arrives, None before the first confident estimate."""

        self.applied_samples = 0
        """How much the reference is to be delayed: a multiple of the canceller's block."""

    def push(self, mic: FloatArray, reference: FloatArray) -> bool:
        """Take one block of each, float32 [HOP_SAMPLES]; True if `applied_samples` changed."""
        for store, block in ((self._mic, mic), (self._reference, reference)):
            store[:-HOP_SAMPLES] = store[HOP_SAMPLES:]
            store[-HOP_SAMPLES:] = block
        self._blocks += 1
        if self._blocks % UPDATE_BLOCKS:
            return False
        return self._estimate()

    def _estimate(self) -> bool:
        if float(np.mean(self._reference**2)) < SILENT_POWER:
            return False
        # Half of the window is zeroed in the reference, so that lags up to it do not wrap round.
        early = self._reference.copy()
        early[WINDOW_SAMPLES // 2 :] = 0.0
        cross = np.fft.rfft(self._mic) * np.conj(np.fft.rfft(early))
        self._cross = FORGETTING * self._cross + (cross / (np.abs(cross) + 1e-12)).astype(
            np.complex64
        )
        correlation = np.abs(np.fft.irfft(self._cross)[: self._search_samples])
        peak = int(np.argmax(correlation))
        rms = float(np.sqrt(np.mean(correlation**2))) + 1e-12
        if float(correlation[peak]) < CONFIDENT_RATIO * rms:
            return False
        self._agreeing = self._agreeing + 1 if abs(peak - self._candidate) <= 64 else 1
        self._candidate = peak
        if self._agreeing < AGREEING_ESTIMATES:
            return False
        self.delay_samples = peak
        behind = peak - self.applied_samples
        if 0 <= behind <= USABLE_SAMPLES:
            return False
        applied = max(0, peak - MARGIN_SAMPLES) // HOP_SAMPLES * HOP_SAMPLES
        changed = applied != self.applied_samples
        self.applied_samples = applied
        return changed


class DelayLine:
    """The reference, delayed by a whole number of blocks that may change between blocks."""

    def __init__(self, longest_samples: int) -> None:
        self._store = np.zeros(
            longest_samples // HOP_SAMPLES * HOP_SAMPLES + 2 * HOP_SAMPLES, np.float32
        )

    def reset(self) -> None:
        """Forget the past."""
        self._store[:] = 0.0

    def push(self, block: FloatArray, delay_samples: int) -> FloatArray:
        """Take float32 [HOP_SAMPLES], give the block `delay_samples` earlier."""
        self._store[:-HOP_SAMPLES] = self._store[HOP_SAMPLES:]
        self._store[-HOP_SAMPLES:] = block
        end = len(self._store) - delay_samples
        return self._store[end - HOP_SAMPLES : end].copy()
