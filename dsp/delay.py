"""Bulk delay between the loudspeaker reference and the microphones, found and tracked.

Generalised cross-correlation with phase transform: C. Knapp and G. Carter, "The generalized
correlation method for estimation of time delay", IEEE Trans. ASSP 24 (1976). The cross-spectrum
is averaged over windows of one second, so a talker and noise average out while the loudspeaker's
path stays. It is done at half the sample rate, which halves its cost and its memory; of the peaks
that stand out the earliest counts, for the room's reflections are as narrow as the direct sound.
What is applied is a whole number of canceller blocks, held with hysteresis: each change costs the
canceller a part of what it has learnt.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.kalman import HOP_SAMPLES

FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]

SAMPLES_PER_MS = 16
WINDOW_SAMPLES = 8192
"""Window at half the sample rate: 1.02 s."""

HALF_BAND = (0.5, 0.303486, -0.06901997, 0.01720015, -0.00166617)
"""Half-band low pass before every second sample is taken: taps 0, 1, 3, 5, 7 behind the middle."""

HALF_BAND_PAST = 14
LONGEST_SEARCH_MS = WINDOW_SAMPLES // SAMPLES_PER_MS
UPDATE_BLOCKS = 16
"""A new estimate every 16 blocks: 256 ms."""

MARGIN_SAMPLES = 192
"""The main peak stays this far behind the start of the filter: what comes early is not lost."""

USABLE_SAMPLES = 1600
"""A delay within this much behind the start of the filter needs no change."""

EARLIEST_SAMPLES = MARGIN_SAMPLES // 2
"""What is found before this may be the reverberation of a sound that came before the reference."""

FORGETTING = 0.8
CONFIDENT_RATIO = 8.0
"""Peak over root mean square of the correlation that counts as found."""

EARLY_SHARE = 0.6
"""The first peak with this share of the highest one is the direct sound."""

BROAD_SHARE = 0.2
BROAD_FLOOR = 0.01
"""A reference is broad where this share of its bins has this much of their mean power: noise has
0.99, speech and music 0.3 to 0.9, a chord or vibrato 0.1. At 0.5 a drift under a guitar was found
after 54 s instead of 8."""

AGREEING_ESTIMATES = 2
AGREEING_SAMPLES = 64
SILENT_POWER = 1e-9


def halve(past: FloatArray, block: FloatArray) -> FloatArray:
    """Half of the sample rate: float32 [HALF_BAND_PAST] and [n] before and in it, to [n / 2]."""
    joined = np.concatenate([past, block])
    middle = HALF_BAND_PAST // 2
    end = middle + len(block)
    half = np.float32(HALF_BAND[0]) * joined[middle:end:2]
    for tap, weight in enumerate(HALF_BAND[1:]):
        apart = 2 * tap + 1
        outer = joined[middle - apart : end - apart : 2] + joined[middle + apart : end + apart : 2]
        half += np.float32(weight) * outer
    return half


class DelayTracker:
    """Finds the delay of a microphone behind the reference, both given block by block.

    Parameters
    ----------
    search_ms : int
        Largest delay that is looked for, up to `LONGEST_SEARCH_MS`.
    """

    def __init__(self, search_ms: int) -> None:
        self._longest_lag = min(search_ms, LONGEST_SEARCH_MS) * SAMPLES_PER_MS // 2
        self.reset()

    def reset(self, applied_samples: int = 0) -> None:
        """Forget what was heard; after a gap what is applied may stay."""
        self._mic = np.zeros(WINDOW_SAMPLES, np.float32)
        self._reference = np.zeros(WINDOW_SAMPLES, np.float32)
        self._past = np.zeros((2, HALF_BAND_PAST), np.float32)
        self._cross = np.zeros(WINDOW_SAMPLES // 2 + 1, np.complex64)
        self.blocks = 0
        self._candidate = -1
        self._agreeing = 0
        self.delay_samples: int | None = None
        """Where the loudspeaker's sound arrives, None before the first confident estimate; below 0
        where `rebase` put the reference behind it."""

        self.applied_samples = applied_samples
        """How much the reference is to be delayed: a multiple of the canceller's block."""

        self.estimates = 0
        """How many were made: those in silence do not count."""

        self.unheard_estimates = 0
        """How many in a row found nothing, or only what may be the rest of an earlier sound."""

        self.broad = False
        """Whether the reference of the last estimate was no tone: `BROAD_SHARE`."""

        self.whitened = np.zeros_like(self._cross)
        """Whitened cross-spectrum of the last estimate, complex64 [WINDOW_SAMPLES / 2 + 1]."""

        self.confidence = 0.0
        """Peak over root mean square of the last correlation; above `CONFIDENT_RATIO` it counts."""

    def rebase(self, later_samples: int, applied_samples: int) -> None:
        """Start anew on a reference that comes earlier by some samples, so its echo comes later."""
        delay = self.delay_samples
        self.reset(applied_samples)
        if delay is not None:
            self.delay_samples = delay + later_samples

    def push(self, mic: FloatArray, reference: FloatArray) -> bool:
        """Take one block of each, float32 [HOP_SAMPLES]; True if `applied_samples` changed."""
        new = HOP_SAMPLES // 2
        signals = ((self._mic, mic), (self._reference, reference))
        for past, (store, block) in zip(self._past, signals, strict=True):
            store[:-new] = store[new:]
            store[-new:] = halve(past, block)
            past[:] = block[-HALF_BAND_PAST:]
        self.blocks += 1
        if self.blocks % UPDATE_BLOCKS:
            return False
        return self._estimate()

    @property
    def confident(self) -> bool:
        """Whether the last estimate stood out."""
        return self.confidence >= CONFIDENT_RATIO

    def _estimate(self) -> bool:
        # Half of the window is zeroed in the reference, so that lags up to it do not wrap round.
        early = self._reference.copy()
        early[WINDOW_SAMPLES // 2 :] = 0.0
        if float(np.mean(early**2)) < SILENT_POWER:
            return False
        played = np.fft.rfft(early)
        power = played.real**2 + played.imag**2
        self.broad = bool(np.mean(power > BROAD_FLOOR * np.mean(power)) >= BROAD_SHARE)
        cross = np.fft.rfft(self._mic) * np.conj(played)
        whitened = (cross / (np.abs(cross) + np.float32(1e-12))).astype(np.complex64)
        self._cross = np.float32(FORGETTING) * self._cross + whitened
        self.estimates += 1
        self.whitened = whitened
        correlation = np.abs(np.fft.irfft(self._cross)[: WINDOW_SAMPLES // 2])
        rms = float(np.sqrt(np.mean(correlation**2))) + 1e-12
        searched = correlation[: self._longest_lag + 1]
        highest = float(searched.max())
        self.confidence = highest / rms
        peak = 2 * int(np.argmax(searched >= EARLY_SHARE * highest))
        heard = self.confident and peak >= EARLIEST_SAMPLES
        self.unheard_estimates = 0 if heard else self.unheard_estimates + 1
        if not self.confident:
            return False
        agrees = abs(peak - self._candidate) <= AGREEING_SAMPLES
        self._agreeing = self._agreeing + 1 if agrees else 1
        self._candidate = peak
        if self._agreeing < AGREEING_ESTIMATES:
            return False
        self.delay_samples = peak
        if 0 <= peak - self.applied_samples <= USABLE_SAMPLES:
            return False
        applied = max(0, peak - MARGIN_SAMPLES) // HOP_SAMPLES * HOP_SAMPLES
        changed = applied != self.applied_samples
        self.applied_samples = applied
        return changed


class DelayLine:
    """Channels delayed by a whole number of blocks, which may change between blocks.

    Parameters
    ----------
    channels : int
        Rows.
    longest_samples : int
        Largest delay.
    history_blocks : int
        Blocks of delayed past that `history` gives.
    """

    def __init__(self, channels: int, longest_samples: int, history_blocks: int) -> None:
        self._history = history_blocks
        blocks = longest_samples // HOP_SAMPLES + history_blocks + 1
        self._store = np.zeros((channels, blocks * HOP_SAMPLES), np.float32)

    def reset(self) -> None:
        """Forget the past."""
        self._store[:] = 0.0

    def push(self, block: FloatArray, delay_samples: int) -> FloatArray:
        """Take float32 [channels, HOP_SAMPLES], give the block `delay_samples` earlier."""
        self._store[:, :-HOP_SAMPLES] = self._store[:, HOP_SAMPLES:]
        self._store[:, -HOP_SAMPLES:] = block
        return self._block(delay_samples)

    def unpush(self, blocks: int) -> None:
        """Forget the newest blocks: they will be pushed anew."""
        taken = min(blocks * HOP_SAMPLES, self._store.shape[1])
        if taken > 0:
            self._store[:, taken:] = self._store[:, :-taken].copy()

    def history(self, delay_samples: int) -> list[FloatArray]:
        """The blocks before the last one, oldest first, as this delay would have given them."""
        return [
            self._block(delay_samples + age * HOP_SAMPLES) for age in range(self._history, 0, -1)
        ]

    def _block(self, delay_samples: int) -> FloatArray:
        """The oldest block there is, where an older one is asked for."""
        end = self._store.shape[1] - max(0, delay_samples)
        end = max(end, HOP_SAMPLES)
        return self._store[:, end - HOP_SAMPLES : end].copy()
