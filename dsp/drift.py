"""Clock drift between the loudspeaker's and the microphones' converters: estimated and undone.

The delay tracker's averaged cross-spectrum is a picture of the echo path. Of two such pictures
taken some seconds apart, the same path seen by two clocks, the later one is shifted; the peak of
their own correlation says by how much, to a fraction of a sample and whatever the room's
reflections look like. What is found in a row and agrees moves the rate; a tone does not count, for
its echo fits at many delays. The reference is then read at that rate by a windowed-sinc
interpolator, so the loop is closed and settles where nothing is left to be found.

While no drift was found the reference passes unchanged: a codec that plays and records by one
clock pays nothing. The interpolator needs some samples of the future, so from the first correction
on the reference is late by `LOOKAHEAD_SAMPLES`; where that grows beyond a few blocks, or runs out,
whole blocks are exchanged with the delay line behind it and no sample is lost or heard twice.

The rate runs on through a pause, for the clocks do too and the echo is met where it is; in a long
one it waits, since what the rate is wrong by would add up.

Related: M. Pawig, G. Enzner and P. Vary, "Adaptive sampling rate correction for acoustic echo
control in voice-over-IP", IEEE Trans. Signal Processing 58 (2010).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.delay import SILENT_POWER, DelayTracker
from kwsd.dsp.kalman import HOP_SAMPLES

FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]

PICTURE_ESTIMATES = 6
"""Estimates of the tracker in a picture: 1.5 s. Shorter ones share too much of their windows."""

SHIFT_LAGS = 10
"""Largest shift between two pictures, at half the rate. From one bound of the rate to the other it
is 7, and what is measured may be a quarter more."""

SETTLING_ESTIMATES = 4
"""Estimates of the tracker whose windows reach back before a correction."""

LARGEST_PPM = 300.0
LARGEST_FOUND_PPM = 450.0
"""A measurement that asks for a rate beyond this is none; measurements come out up to a quarter too
large."""

FIRST_AGREEMENT = 0.25
"""Normalised correlation of two pictures below which they are not of the same path."""

FIRST_PPM = 5.0
FIRST_FINDINGS = 3
"""What has to be found, and how often in a row, before anything is corrected. Without drift less
than 1 is seen."""

FIRST_LIKENESS = 0.5
"""Least over greatest of these findings: changes of the path come in all sizes."""

AGREEMENT = 0.15
LEAST_PPM = 0.5
FINDINGS = 2
"""The same afterwards. A path that moves within its pictures blurs them: of white noise agree 0.72
without a drift, 0.32 at 300 ppm and 0.16 at 600, as when another loudspeaker's clock is heard."""

NO_DRIFT_PPM = 1.0
"""Rates below this are those of one clock."""

GAIN = 1.0
STEP_PPM = 0.25
"""Grid of the rate: native and numpy twins settle on the same value."""

TAPS = 32
LOOKAHEAD_SAMPLES = TAPS // 2
EXCHANGED_BLOCKS = 4
FULL_SAMPLES = LOOKAHEAD_SAMPLES + EXCHANGED_BLOCKS * HOP_SAMPLES + 2
"""From this delay on blocks are handed over: more than giving some back can make of it, or one
would undo the other for ever."""

RUN_ON_BLOCKS = 3750
"""Silence in which the rate runs on: 60 s, in which 1 ppm is a sample."""

PAST_SAMPLES = 2 * TAPS + (EXCHANGED_BLOCKS + 2) * HOP_SAMPLES


class DriftEstimator:
    """Rate at which the echo's delay grows, from the delay tracker's pictures of its path."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.ppm = 0.0
        """By how much the microphones' clock runs faster than the loudspeaker's, in 10^-6."""

        self.restart()

    @property
    def engaged(self) -> bool:
        """Whether a drift has been found."""
        return self.ppm != 0.0

    def restart(self) -> None:
        """Forget the pictures, keep the rate: after a gap, and after every correction."""
        self._previous: ComplexArray | None = None
        self._previous_block = 0.0
        self._found = [0.0] * FIRST_FINDINGS
        self._wait = SETTLING_ESTIMATES
        self._begin()

    def _begin(self) -> None:
        self._sum: ComplexArray | None = None
        self._blocks: list[int] = []

    def observe(self, tracker: DelayTracker, block: int, read_ppm: float) -> None:
        """Look at the tracker after it has made an estimate.

        Parameters
        ----------
        tracker : DelayTracker
            Its last whitened cross-spectrum is added to the picture.
        block : int
            When: the picture's time is the mean of those, since pauses make no estimates.
        read_ppm : float
            At which rate the reference was read: an exhausted corrector cannot follow `ppm`.
        """
        if not tracker.broad:
            return
        if self._wait > 0:
            self._wait -= 1
            return
        spectrum = tracker.whitened
        self._sum = spectrum.copy() if self._sum is None else self._sum + spectrum
        self._blocks.append(block)
        if len(self._blocks) < PICTURE_ESTIMATES:
            return
        picture, at = self._sum, float(np.mean(self._blocks))
        previous, before_block = self._previous, self._previous_block
        self._previous, self._previous_block = picture, at
        self._begin()
        if previous is None:
            return
        shift_samples, agreement = shift_between(previous, picture)
        found = 1e6 * shift_samples / ((at - before_block) * HOP_SAMPLES)
        needed = AGREEMENT if self.engaged else FIRST_AGREEMENT
        if agreement < needed or abs(read_ppm + found) > LARGEST_FOUND_PPM:
            self._found = [0.0] * FIRST_FINDINGS
            return
        self._found = [found, *self._found[:-1]]
        least = self._agreed()
        if least == 0.0:
            return
        moved = np.clip(read_ppm + GAIN * least, -LARGEST_PPM, LARGEST_PPM)
        ppm = float(np.rint(moved / STEP_PPM) * STEP_PPM)
        self.ppm = ppm if abs(ppm) >= NO_DRIFT_PPM else 0.0
        self.restart()

    def _agreed(self) -> float:
        """The least of the last findings, 0 where they do not agree.

        A path that changes looks like a drift once, never again by the same amount.
        """
        found = self._found[: FINDINGS if self.engaged else FIRST_FINDINGS]
        least, greatest = min(found, key=abs), max(found, key=abs)
        if min(found) * max(found) <= 0.0:
            return 0.0
        if self.engaged:
            return least if abs(least) >= LEAST_PPM else 0.0
        alike = abs(least) >= FIRST_LIKENESS * abs(greatest)
        return least if alike and abs(least) >= FIRST_PPM else 0.0


def shift_between(earlier: ComplexArray, later: ComplexArray) -> tuple[float, float]:
    """By how many samples the echo comes later in the second of two pictures.

    Returns
    -------
    shift_samples : float
        Found within `SHIFT_LAGS` of half the rate.
    agreement : float
        Normalised correlation of both pictures at that shift, up to 1.
    """
    correlation = np.fft.irfft(later * np.conj(earlier)).astype(np.float32)
    lags = np.arange(-SHIFT_LAGS, SHIFT_LAGS + 1)
    lag = int(lags[np.argmax(correlation[lags])])
    below, here, above = (float(correlation[lag + i]) for i in (-1, 0, 1))
    bend = below - 2.0 * here + above
    fraction = 0.5 * (below - above) / bend if bend < 0.0 else 0.0
    power = np.sum(np.abs(later) ** 2) * np.sum(np.abs(earlier) ** 2)
    agreement = here * len(correlation) / 2 / (float(np.sqrt(power)) + 1e-12)
    return 2.0 * (lag + fraction), agreement


def interpolate(past: FloatArray, delay_samples: float) -> FloatArray:
    """The newest HOP_SAMPLES of a signal, late by a fraction: Hann-windowed sinc of `TAPS` taps.

    Parameters
    ----------
    past : ndarray, float32 [PAST_SAMPLES]
        Ends with the newest sample.
    delay_samples : float
        `LOOKAHEAD_SAMPLES` to what `past` holds.

    Returns
    -------
    ndarray, float32 [HOP_SAMPLES]
    """
    whole = int(np.floor(delay_samples))
    fraction = delay_samples - whole
    places = np.arange(TAPS) - (LOOKAHEAD_SAMPLES - 1) - fraction
    window = 0.5 + 0.5 * np.cos(np.pi * places / LOOKAHEAD_SAMPLES)
    taps = (np.sinc(places) * window).astype(np.float32)
    end = len(past) - whole + LOOKAHEAD_SAMPLES - 1
    span = past[end - HOP_SAMPLES - TAPS + 1 : end]
    return np.convolve(span, taps, "valid").astype(np.float32)


class DriftCorrector:
    """The reference, read at another rate."""

    def __init__(self) -> None:
        self._ramp = (np.arange(1, HOP_SAMPLES + 1) / HOP_SAMPLES).astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.delay_samples = 0.0
        """How late the newest sample that came out is."""

        self.restart()

    def restart(self) -> None:
        """Forget the signal: after a gap."""
        self._past = np.zeros(PAST_SAMPLES, np.float32)
        self._silent_blocks = 0

    def push(self, reference: FloatArray) -> None:
        """Take the next float32 [HOP_SAMPLES]."""
        self._past[:-HOP_SAMPLES] = self._past[HOP_SAMPLES:]
        self._past[-HOP_SAMPLES:] = reference
        silent = float(np.mean(reference**2)) < SILENT_POWER
        self._silent_blocks = min(self._silent_blocks + 1, RUN_ON_BLOCKS) if silent else 0

    def give_back_blocks(self, spare_blocks: int, ppm: float) -> int:
        """Blocks by which the delay line has to be shorter, for there is no future left.

        Parameters
        ----------
        spare_blocks : int
            What the delay line has.
        ppm : float
            The rate at which the blocks that it gives were read.
        """
        if self.delay_samples == 0.0 or self.delay_samples >= LOOKAHEAD_SAMPLES + 1:
            return 0
        blocks = min(spare_blocks, EXCHANGED_BLOCKS)
        self.delay_samples += blocks * HOP_SAMPLES * (1.0 - 1e-6 * ppm)
        return blocks

    @property
    def full(self) -> bool:
        """Whether blocks have to be handed over."""
        return self.delay_samples >= FULL_SAMPLES

    @property
    def whole_blocks(self) -> int:
        """How many could be: never all that were just given back."""
        return max(0, int(self.delay_samples) - LOOKAHEAD_SAMPLES - 2) // HOP_SAMPLES

    def hand_over(self, blocks: int, ppm: float) -> list[FloatArray]:
        """Blocks that lengthen the delay line, oldest first: up to `whole_blocks`, at a rate."""
        given = []
        for _ in range(blocks):
            given.append(self.process(ppm))
            self.delay_samples -= HOP_SAMPLES
        return given

    def leave(self, blocks: int) -> None:
        """Blocks that the delay line takes over without hearing them: at a gap."""
        self.delay_samples -= blocks * HOP_SAMPLES

    def recentre(self) -> None:
        """Give up what was reached: the reference comes as early as it can."""
        self.delay_samples = float(LOOKAHEAD_SAMPLES)

    def exhausted(self, ppm: float) -> bool:
        """Whether a rate asks for the reference earlier than it comes."""
        return self.delay_samples == LOOKAHEAD_SAMPLES and ppm < 0.0

    def follows(self, ppm: float) -> bool:
        """Whether the reference is read at a rate, and not as it comes."""
        return not (self._waits or self.exhausted(ppm))

    @property
    def _waits(self) -> bool:
        return self._silent_blocks == RUN_ON_BLOCKS

    def engage(self, spare_samples: int) -> None:
        """Begin to correct, with the delay that the echo path leaves for it.

        Parameters
        ----------
        spare_samples : int
            By how much the reference may come later without the canceller losing the start of the
            echo. Whole blocks are taken where there are any, for then the paths move with them.
        """
        blocks = min(spare_samples // HOP_SAMPLES, EXCHANGED_BLOCKS)
        taken = blocks * HOP_SAMPLES if blocks > 0 else max(spare_samples, 0)
        self.delay_samples = float(LOOKAHEAD_SAMPLES + taken)

    def process(self, ppm: float) -> FloatArray:
        """The newest block at a rate, float32 [HOP_SAMPLES]; unchanged before `engage`."""
        if self.delay_samples == 0.0:
            return self._past[-HOP_SAMPLES:].copy()
        before = self.delay_samples
        moved = before + 1e-6 * ppm * HOP_SAMPLES
        after = before if self._waits else max(float(LOOKAHEAD_SAMPLES), moved)
        self.delay_samples = after
        first, last = interpolate(self._past, before), interpolate(self._past, after)
        return (first + self._ramp * (last - first)).astype(np.float32)
