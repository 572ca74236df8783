"""The DSP stage: microphones and reference in, detector branch and voice branch out.

Per 16 ms block: absurd samples out, DC blocker, alignment of the reference, one Kalman canceller
per microphone. The voice branch is the residual of one microphone behind the suppressor. The
detector branch is that residual, and with two microphones what the interference canceller leaves
of it; the residual itself is given too. The second microphone takes over when the first is dead or
clips.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.block import LARGEST_SAMPLE, Block
from kwsd.dsp.alignment import ReferenceAlignment
from kwsd.dsp.channel_rows import join_channels
from kwsd.dsp.companions import COMPANIONS
from kwsd.dsp.companions import PARTITIONS as COMPANION_PARTITIONS
from kwsd.dsp.dc_blocker import DcBlocker
from kwsd.dsp.delay import SAMPLES_PER_MS
from kwsd.dsp.direction import DirectionFinder
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.frontend_frame import FrontEndFrame, branch_delays
from kwsd.dsp.hop_fifo import HopFifo
from kwsd.dsp.interference import InterferenceCanceller
from kwsd.dsp.kalman import HOP_SAMPLES, KalmanCanceller
from kwsd.dsp.metrics import Meter
from kwsd.dsp.microphone_choice import CLIP_LEVEL, MicrophoneChoice
from kwsd.dsp.suppressor import Suppressor

FloatArray = NDArray[np.float32]

_Parts = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


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
        channels = microphones + 1
        self._fifo = HopFifo(channels, HOP_SAMPLES)
        self._dc = DcBlocker(channels, HOP_SAMPLES)
        self._choice = MicrophoneChoice(microphones)
        self._alignment: ReferenceAlignment | None = None
        self._cancellers: list[KalmanCanceller] = []
        if config.aec and has_reference:
            tail = max(1, config.tail_ms * SAMPLES_PER_MS // HOP_SAMPLES)
            partitions = [tail]
            if companions:
                partitions += [min(tail, COMPANION_PARTITIONS)] * COMPANIONS
            self._alignment = ReferenceAlignment(config.delay_search_ms, config.drift, partitions)
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
        if self._alignment is not None:
            self._alignment.reset()
        for canceller in self._cancellers:
            canceller.reset()
        if self._interference is not None:
            self._interference.reset()
        self._choice.reset()
        self._meter.reset()
        self._echo_found = self.config.delay_search_ms == 0
        self._next_sample = 0

    def _restart(self) -> None:
        """Forget signals, keep what was learnt of the room: after a gap."""
        self._fifo.reset()
        self._dc.reset()
        if self._alignment is not None:
            self._alignment.restart()
        self._suppressor.reset()
        if self._interference is not None:
            self._interference.restart()
        if self._direction is not None:
            self._direction.reset()

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
        if self._fifo.held_samples == 0:
            self._next_sample = block.start_sample
        bad = ~(np.abs(joined) <= LARGEST_SAMPLE)
        if bad.any():
            self._meter.bad_samples += int(bad.sum())
            joined = np.where(bad, np.float32(0.0), joined)
        clipped = np.abs(joined[: self._microphones]) >= CLIP_LEVEL
        self._meter.clipped_samples += int(clipped.sum())
        return self._frame([self._block(part) for part in self._fifo.push(joined)])

    def flush(self) -> FrontEndFrame:
        """Give what is still held back, padded to a whole block and cut again."""
        held = self._fifo.held_samples
        if held == 0:
            return self._frame([])
        pad = np.zeros((self._microphones + 1, HOP_SAMPLES - held), np.float32)
        return self._frame([self._block(part, held) for part in self._fifo.push(pad)])

    def _frame(self, parts: list[_Parts]) -> FrontEndFrame:
        start = self._next_sample
        self._next_sample += sum(len(part[0]) for part in parts)
        none = np.zeros(0, np.float32)
        detector, voice, residual, reference = (
            np.concatenate([none, *(part[i] for part in parts)]) for i in range(4)
        )
        delay, drift_ppm, angle = None, 0.0, None
        if self._alignment is not None:
            delay, drift_ppm = self._alignment.delay_samples, self._alignment.drift_ppm
        if self._direction is not None and all(self._choice.good):
            angle = self._direction.angle_deg()
        metrics = self._meter.snapshot(
            self._has_reference, delay, drift_ppm, angle, self._choice.used, self._choice.dead
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
        if self._alignment is not None:
            reference, moves = self._alignment.push(mics[used], reference, self._meter.erle_db)
            cancelled = []
            for canceller, mic in zip(self._cancellers, mics, strict=True):
                moves.apply(canceller)
                learn = valid == HOP_SAMPLES
                cancelled.append(canceller.process(mic, self._alignment.spectra, learn))
            # Where the loudspeaker does not reach the microphone (volume down, headphones) a filter
            # that looks for an echo finds the talker: measured, a fifth of the words was lost.
            self._echo_found |= self._alignment.echo_heard
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
