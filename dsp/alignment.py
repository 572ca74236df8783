"""Alignment: the reference at the microphones' clock, as late as its echo.

Delay search, clock drift and the exchange of blocks between the two: what one holds back the other
need not, and the sum of both stays, so that the cancellers notice nothing. What they do have to
notice comes out with each block as `PathMoves`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.companions import Companions
from kwsd.dsp.delay import (
    EARLIEST_SAMPLES,
    MARGIN_SAMPLES,
    SAMPLES_PER_MS,
    DelayLine,
    DelayTracker,
)
from kwsd.dsp.drift import LOOKAHEAD_SAMPLES, DriftCorrector, DriftEstimator
from kwsd.dsp.kalman import HOP_SAMPLES, KalmanCanceller, ReferenceSpectra

FloatArray = NDArray[np.float32]

ANOTHER_PATH_SAMPLES = 256
"""A delay that jumps further is that of another echo path."""

LATE_ESTIMATES = 12
"""An echo that is heard for the first time after more of them was not there before: 3 s."""

LOST_ERLE_DB = 6.0
"""Less echo return loss enhancement than this is worth nothing that was learnt."""

LOST_ESTIMATES = 8
"""Estimates in a row without an echo after which it may come earlier now: 2 s of playback."""

GIVEN_UP_ESTIMATES = 24
GIVEN_UP_ERLE_DB = 12.0
"""The same for what costs the paths, and what they are worth meanwhile: 6 s, more than a talker
speaks without a pause. Half of an echo, its reverberation, was cancelled by 7 dB."""


class PathMoves(NamedTuple):
    """What becomes of the echo paths that were learnt, in this order."""

    clock_partitions: int = 0
    """By how much they move since the drift corrector began to hold the reference back."""

    forget: bool = False
    """This is the echo of another path."""

    delay_partitions: int = 0
    """By how much they move since the delay line holds it back for another time."""

    def apply(self, canceller: KalmanCanceller) -> None:
        """To the paths of one microphone."""
        if self.clock_partitions:
            canceller.shift(self.clock_partitions)
        if self.forget:
            # What was learnt, and how sure of it the filters are, only holds them up.
            canceller.reset()
        if self.delay_partitions:
            canceller.shift(self.delay_partitions)


class ReferenceAlignment:
    """Takes the reference as it came, gives it as the cancellers need it.

    Parameters
    ----------
    delay_search_ms : int
        Largest bulk delay; 0 switches the search off.
    drift : bool
        Whether to follow a clock drift.
    partitions : sequence of int
        Length of the paths of the reference and of each companion, in blocks.
    """

    def __init__(self, delay_search_ms: int, drift: bool, partitions: Sequence[int]) -> None:
        longest = delay_search_ms * SAMPLES_PER_MS
        self._searches = longest > 0
        self._follows_drift = drift
        self._companions = Companions(HOP_SAMPLES) if len(partitions) > 1 else None
        self._tracker = DelayTracker(delay_search_ms)
        self._line = DelayLine(len(partitions), longest, partitions[0] + 1)
        self._line_blocks = longest // HOP_SAMPLES
        self._drift = DriftEstimator()
        self._corrector = DriftCorrector()
        self._heard_samples: int | None = None
        self._lost_estimates = 0
        self.spectra = ReferenceSpectra(partitions)
        """Of what came out so far; for the cancellers."""

    @property
    def echo_heard(self) -> bool:
        """Whether a microphone follows the reference; False after a gap, until it does again."""
        return self._tracker.delay_samples is not None

    @property
    def delay_samples(self) -> int | None:
        """Where the loudspeaker's sound arrives behind the reference that came in."""
        delay = self._tracker.delay_samples
        if delay is None:
            return None
        return max(0, delay + round(self._corrector.delay_samples))

    @property
    def drift_ppm(self) -> float:
        """By how much the microphones' clock runs faster than the loudspeaker's."""
        return self._drift.ppm

    def reset(self) -> None:
        """Back to the state of a new object."""
        self.restart()
        if self._companions is not None:
            self._companions.reset()
        self._tracker.reset()
        self._drift.reset()
        self._corrector.reset()
        self._heard_samples = None

    def restart(self) -> None:
        """Forget signals, keep delay and drift: after a gap."""
        self.spectra.reset()
        self._line.reset()
        # The tracker looks for an echo behind what the corrector gives, so that gives it early.
        applied = self._tracker.applied_samples
        blocks = min(self._corrector.whole_blocks, self._line_blocks - applied // HOP_SAMPLES)
        self._corrector.leave(blocks)
        self._tracker.reset(applied + blocks * HOP_SAMPLES)
        self._lost_estimates = 0
        self._drift.restart()
        self._corrector.restart()

    def push(
        self, mic: FloatArray, reference: FloatArray, erle_db: float | None
    ) -> tuple[FloatArray, PathMoves]:
        """Undo drift and delay of one block of the reference.

        Parameters
        ----------
        mic : ndarray, float32 [HOP_SAMPLES]
            The microphone in use.
        reference : ndarray, float32 [HOP_SAMPLES]
            What the loudspeaker plays.
        erle_db : float or None
            What the cancellers are worth; None where that is not known.

        Returns
        -------
        aligned : ndarray, float32 [HOP_SAMPLES]
            The reference; `spectra` has it, too.
        moves : PathMoves
            For each canceller, before it takes this block.
        """
        clock_partitions = 0
        if self._follows_drift:
            reference, clock_partitions = self._undo_drift(reference, erle_db)
        before, estimates = self._tracker.applied_samples, self._tracker.estimates
        moved = self._searches and self._tracker.push(mic, reference)
        forget = self._is_another_path(erle_db)
        if self._follows_drift and self._tracker.estimates != estimates:
            ppm = self._drift.ppm
            read_ppm = ppm if self._corrector.follows(ppm) else 0.0
            self._drift.observe(self._tracker, self._tracker.blocks, read_ppm)
            lost = self._tracker.unheard_estimates > 0 and _below(erle_db, GIVEN_UP_ERLE_DB)
            self._lost_estimates = self._lost_estimates + 1 if lost else 0
        delay = self._tracker.applied_samples
        delayed = self._line.push(self._with_companions(reference), delay)
        if moved:
            self.spectra.reset()
            for past in self._line.history(delay):
                self.spectra.push(past)
        self.spectra.push(delayed)
        aligned: FloatArray = delayed[0]
        return aligned, PathMoves(clock_partitions, forget, (before - delay) // HOP_SAMPLES)

    def _is_another_path(self, erle_db: float | None) -> bool:
        """Whether the echo has come back at another delay than it was heard at last, or comes late.

        It may have been heard before a gap, over which the tracker forgets it. What the filters are
        sure of before a loudspeaker that starts muted is heard at all is that there is no echo.
        """
        before, now = self._heard_samples, self.delay_samples
        if now is None:
            return False
        self._heard_samples = now
        if before is None:
            another = self._tracker.estimates > LATE_ESTIMATES
        else:
            another = abs(now - before) > ANOTHER_PATH_SAMPLES
        return another and _below(erle_db, LOST_ERLE_DB)

    def _with_companions(self, reference: FloatArray) -> FloatArray:
        if self._companions is None:
            return reference[None]
        return self._companions.process(reference)

    def _undo_drift(self, reference: FloatArray, erle_db: float | None) -> tuple[FloatArray, int]:
        """The reference at the microphones' clock, and by how much that moves the paths.

        Where the corrector's own delay reaches a bound, blocks are exchanged with the delay line.
        """
        corrector, tracker, ppm = self._corrector, self._tracker, self._drift.ppm
        followed = corrector.follows(ppm)
        corrector.push(reference)
        before, applied = corrector.delay_samples, tracker.applied_samples
        back = corrector.give_back_blocks(applied // HOP_SAMPLES, ppm)
        self._line.unpush(back)
        blocks = -back if back > 0 else self._hand_over(applied)
        spare = (tracker.delay_samples or 0) - applied - MARGIN_SAMPLES
        # Once it was exhausted for whole blocks, with which the paths can move; for less where they
        # are worth little and the echo is heard there: else it would be given up and begun anew.
        heard = tracker.estimates > 0 and tracker.unheard_estimates == 0
        afresh = heard and _below(erle_db, GIVEN_UP_ERLE_DB)
        again = corrector.exhausted(ppm) and spare >= (LOOKAHEAD_SAMPLES if afresh else HOP_SAMPLES)
        partitions = 0
        if self._drift.engaged and (before == 0.0 or again):
            corrector.engage(spare)
            partitions = -(round(corrector.delay_samples) // HOP_SAMPLES)
        read = corrector.process(ppm)
        jumped = round(before - corrector.delay_samples)
        if jumped != 0:
            tracker.rebase(jumped, applied + blocks * HOP_SAMPLES)
        if jumped != 0 or corrector.follows(ppm) != followed:
            self._drift.restart()
        return read, partitions

    def _hand_over(self, applied: int) -> int:
        """Blocks that the delay line has taken from the corrector.

        All that it has, where it is full or may hold the reference back behind the echo: the
        tracker sees it earlier then. What is not a whole block is only given up for lost paths.
        """
        corrector, tracker = self._corrector, self._tracker
        delay, unheard = tracker.delay_samples, tracker.unheard_estimates
        early = delay is not None and delay < EARLIEST_SAMPLES
        if not (corrector.full or early or unheard >= LOST_ESTIMATES):
            return 0
        blocks = min(corrector.whole_blocks, self._line_blocks - applied // HOP_SAMPLES)
        for block in corrector.hand_over(blocks, self._drift.ppm):
            self._line.push(self._with_companions(block), 0)
        late = corrector.delay_samples >= 2 * LOOKAHEAD_SAMPLES
        lost = late and self._lost_estimates >= GIVEN_UP_ESTIMATES
        if blocks == 0 and (corrector.full or lost):
            corrector.recentre()
            self._lost_estimates = 0
        return blocks


def _below(erle_db: float | None, limit_db: float) -> bool:
    return erle_db is not None and erle_db < limit_db
