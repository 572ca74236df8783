"""The DSP stage: microphones and reference in, detector branch and voice branch out.

Per 16 ms block: absurd samples out, DC blocker, companions of the reference, delay of the
reference, one Kalman canceller per microphone. The voice branch is the residual of one microphone
behind the suppressor. The detector branch is that residual, and with two microphones what the
interference canceller leaves of it; the residual itself is given too. The second microphone takes
over when the first is dead or clips.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.block import LARGEST_SAMPLE, Block
from kwsd.dsp.companions import COMPANIONS, Companions
from kwsd.dsp.companions import PARTITIONS as COMPANION_PARTITIONS
from kwsd.dsp.dc_blocker import DcBlocker
from kwsd.dsp.delay import EARLIEST_SAMPLES, MARGIN_SAMPLES, DelayLine, DelayTracker
from kwsd.dsp.direction import DirectionFinder
from kwsd.dsp.drift import LOOKAHEAD_SAMPLES, DriftCorrector, DriftEstimator
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.frontend_frame import FrontEndFrame, branch_delays
from kwsd.dsp.interference import InterferenceCanceller
from kwsd.dsp.kalman import HOP_SAMPLES, KalmanCanceller, ReferenceSpectra
from kwsd.dsp.metrics import Meter
from kwsd.dsp.microphone_choice import CLIP_LEVEL, MicrophoneChoice
from kwsd.dsp.reblock import Reblock, join_channels
from kwsd.dsp.suppressor import Suppressor

FloatArray = NDArray[np.float32]

_Parts = tuple[FloatArray, FloatArray, FloatArray, FloatArray]

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


class FrontEnd:
    """Streaming front end; blocks of any length give the same output.

    Parameters
    ----------
    config : FrontEndConfig
        What runs.
    microphones : int
        1 or 2.
    has_reference : bool
        Whether blocks carry what the loudspeaker plays; where it is False a reference in a
        block is not looked at, where it is True a missing one counts as silence.
    companions : bool
        Cancel with distortion products of the reference too.

    Raises
    ------
    ValueError
        Another number of microphones.
    """

    def __init__(
        self,
        config: FrontEndConfig,
        microphones: int,
        has_reference: bool,
        companions: bool = True,
    ) -> None:
        if microphones not in (1, 2):
            raise ValueError(f"front end for {microphones} microphones: must be 1 or 2")
        self.config = config
        self._microphones = microphones
        self._has_reference = has_reference
        self._cancels = config.aec and has_reference
        channels = microphones + 1
        self._reblock = Reblock(channels, HOP_SAMPLES)
        self._dc = DcBlocker(channels, HOP_SAMPLES)
        self._choice = MicrophoneChoice(microphones)
        self._companions = Companions(HOP_SAMPLES) if companions else None
        tail = max(1, config.tail_ms * 16 // HOP_SAMPLES)
        partitions = [tail]
        if companions:
            partitions += [min(tail, COMPANION_PARTITIONS)] * COMPANIONS
        self._tracker = DelayTracker(config.delay_search_ms)
        self._line = DelayLine(len(partitions), config.delay_search_ms * 16, tail + 1)
        self._line_blocks = config.delay_search_ms * 16 // HOP_SAMPLES
        self._heard_samples: int | None = None
        self._lost_estimates = 0
        self._drift = DriftEstimator()
        self._corrector = DriftCorrector()
        self._spectra = ReferenceSpectra(partitions)
        self._cancellers = [KalmanCanceller(partitions) for _ in range(microphones)]
        self._echo_found = config.delay_search_ms == 0
        combines = config.combine and microphones == 2
        self._interference = InterferenceCanceller() if combines else None
        self._delays = branch_delays(config, microphones)
        finds = config.mic_spacing_mm > 0 and microphones == 2
        self._direction = DirectionFinder(config.mic_spacing_mm) if finds else None
        self._suppressor = Suppressor()
        self._meter = Meter(microphones)
        self._next_sample = 0

    def reset(self) -> None:
        """Back to the state of a new object."""
        self._restart()
        if self._companions is not None:
            self._companions.reset()
        for canceller in self._cancellers:
            canceller.reset()
        self._tracker.reset()
        self._drift.reset()
        self._corrector.reset()
        if self._interference is not None:
            self._interference.reset()
        self._choice.reset()
        self._meter.reset()
        self._heard_samples = None
        self._echo_found = self.config.delay_search_ms == 0
        self._next_sample = 0

    def _restart(self) -> None:
        """Forget signals, keep what was learnt of the room: after a gap."""
        self._reblock.reset()
        self._dc.reset()
        self._spectra.reset()
        self._line.reset()
        self._suppressor.reset()
        if self._interference is not None:
            self._interference.restart()
        if self._direction is not None:
            self._direction.reset()
        # The tracker looks for an echo behind what the corrector gives, so that gives it early.
        applied = self._tracker.applied_samples
        blocks = min(self._corrector.whole_blocks, self._line_blocks - applied // HOP_SAMPLES)
        self._corrector.leave(blocks)
        self._tracker.reset(applied + blocks * HOP_SAMPLES)
        self._lost_estimates = 0
        self._drift.restart()
        self._corrector.restart()

    def process(self, block: Block) -> FrontEndFrame:
        """Take a block of any length, give what it completes (possibly nothing).

        At a gap up to 255 samples that waited for their block are dropped with it.

        Raises
        ------
        ValueError
            The block has another number of microphones than the front end was made for, or a
            reference of another length than the microphones.
        """
        joined = join_channels(block, self._microphones, self._has_reference)
        if block.gap:
            self._restart()
        if self._reblock.held_samples == 0:
            self._next_sample = block.start_sample
        bad = ~(np.abs(joined) <= LARGEST_SAMPLE)
        if bad.any():
            self._meter.bad_samples += int(bad.sum())
            joined = np.where(bad, np.float32(0.0), joined)
        clipped = np.abs(joined[: self._microphones]) >= CLIP_LEVEL
        self._meter.clipped_samples += int(clipped.sum())
        return self._frame([self._block(part) for part in self._reblock.push(joined)])

    def flush(self) -> FrontEndFrame:
        """Give what is still held back, padded to a whole block and cut again."""
        held = self._reblock.held_samples
        if held == 0:
            return self._frame([])
        pad = np.zeros((self._microphones + 1, HOP_SAMPLES - held), np.float32)
        return self._frame([self._block(part, held) for part in self._reblock.push(pad)])

    def _frame(self, parts: list[_Parts]) -> FrontEndFrame:
        start = self._next_sample
        self._next_sample += sum(len(part[0]) for part in parts)
        none = np.zeros(0, np.float32)
        detector, voice, residual, reference = (
            np.concatenate([none, *(part[i] for part in parts)]) for i in range(4)
        )
        delay = self._delay_samples() if self._cancels else None
        angle = None
        if self._direction is not None and all(self._choice.good):
            angle = self._direction.angle_deg()
        metrics = self._meter.snapshot(
            self._has_reference, delay, self._drift.ppm, angle, self._choice.used, self._choice.dead
        )
        return FrontEndFrame(
            start, detector, voice, residual, reference, metrics, delays=self._delays
        )

    def _block(self, joined: FloatArray, valid: int = HOP_SAMPLES) -> _Parts:
        """One block of 16 ms: detector, voice, residual and aligned reference where it is valid.

        Where the microphone is padded its echo stops in the middle: nothing is to be learnt or
        measured there.
        """
        used = self._choice.update(joined[:-1])
        if self.config.dc_block:
            joined = self._dc.process(joined)
        mics, reference = joined[:-1], joined[-1]
        residuals, echo = list(mics), np.zeros_like(reference)
        if self._cancels:
            reference = self._align(mics[used], reference)
            cancelled = [
                canceller.process(mic, self._spectra, learn=valid == HOP_SAMPLES)
                for canceller, mic in zip(self._cancellers, mics, strict=True)
            ]
            # Where the loudspeaker does not reach the microphone (volume down, headphones) a filter
            # that looks for an echo finds the talker: measured, a fifth of the words was lost.
            self._echo_found |= self._tracker.delay_samples is not None
            if self._echo_found:
                residuals = [error for error, _ in cancelled]
                echo = cancelled[used][1]
        residual = residuals[used]
        if valid == HOP_SAMPLES:
            self._meter.update(mics, reference, residual, used)
            if self._direction is not None:
                self._direction.update(residuals[0], residuals[1], self._meter.floor_power)
        detector = residual
        if self._interference is not None:
            usable = used == 0 and self._choice.good[1]
            whole = valid == HOP_SAMPLES
            detector = self._interference.process(residual, residuals[1 - used], usable, whole)
        if not self.config.voice_branch:
            return detector[:valid], detector[:valid], residual[:valid], reference[:valid]
        if not self.config.suppress_echo:
            echo = np.zeros_like(echo)
        voice = self._suppressor.process(residual, echo, self.config.noise_reduction)
        return detector[:valid], voice[:valid], residual[:valid], reference[:valid]

    def _align(self, mic: FloatArray, reference: FloatArray) -> FloatArray:
        """Undo drift and delay of the reference; when the delay changes the echo paths move."""
        if self.config.drift:
            reference = self._undo_drift(reference)
        before, estimates = self._tracker.applied_samples, self._tracker.estimates
        moved = self.config.delay_search_ms > 0 and self._tracker.push(mic, reference)
        if self._is_another_path():
            # What was learnt, and how sure of it the filters are, only holds them up.
            for canceller in self._cancellers:
                canceller.reset()
        estimated = self._tracker.estimates != estimates
        if self.config.drift and estimated:
            ppm = self._drift.ppm
            read_ppm = ppm if self._corrector.follows(ppm) else 0.0
            self._drift.observe(self._tracker, self._tracker.blocks, read_ppm)
            lost = self._tracker.unheard_estimates > 0 and self._cancels_below(GIVEN_UP_ERLE_DB)
            self._lost_estimates = self._lost_estimates + 1 if lost else 0
        delay = self._tracker.applied_samples
        delayed = self._line.push(self._with_companions(reference), delay)
        if moved:
            self._spectra.reset()
            for past in self._line.history(delay):
                self._spectra.push(past)
            for canceller in self._cancellers:
                canceller.shift((before - delay) // HOP_SAMPLES)
        self._spectra.push(delayed)
        aligned: FloatArray = delayed[0]
        return aligned

    def _delay_samples(self) -> int | None:
        """Where the loudspeaker's sound arrives behind the reference that came in."""
        delay = self._tracker.delay_samples
        if delay is None:
            return None
        return max(0, delay + round(self._corrector.delay_samples))

    def _is_another_path(self) -> bool:
        """Whether the echo has come back at another delay than it was heard at last, or comes late.

        It may have been heard before a gap, over which the tracker forgets it. What the filters are
        sure of before a loudspeaker that starts muted is heard at all is that there is no echo.
        """
        before, now = self._heard_samples, self._delay_samples()
        if now is None:
            return False
        self._heard_samples = now
        if before is None:
            another = self._tracker.estimates > LATE_ESTIMATES
        else:
            another = abs(now - before) > ANOTHER_PATH_SAMPLES
        return another and self._cancels_below(LOST_ERLE_DB)

    def _cancels_below(self, limit_db: float) -> bool:
        erle_db = self._meter.erle_db
        return erle_db is not None and erle_db < limit_db

    def _with_companions(self, reference: FloatArray) -> FloatArray:
        if self._companions is None:
            return reference[None]
        return self._companions.process(reference)

    def _undo_drift(self, reference: FloatArray) -> FloatArray:
        """The reference at the microphones' clock.

        Where the corrector's own delay reaches a bound, blocks are exchanged with the delay line;
        the sum of both stays, so the cancellers notice nothing.
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
        afresh = heard and self._cancels_below(GIVEN_UP_ERLE_DB)
        again = corrector.exhausted(ppm) and spare >= (LOOKAHEAD_SAMPLES if afresh else HOP_SAMPLES)
        if self._drift.engaged and (before == 0.0 or again):
            corrector.engage(spare)
            for canceller in self._cancellers:
                canceller.shift(-(round(corrector.delay_samples) // HOP_SAMPLES))
        read = corrector.process(ppm)
        jumped = round(before - corrector.delay_samples)
        if jumped != 0:
            tracker.rebase(jumped, applied + blocks * HOP_SAMPLES)
        if jumped != 0 or corrector.follows(ppm) != followed:
            self._drift.restart()
        return read

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
