"""The DSP stage: microphones and reference in, detector branch and voice branch out.

Per 16 ms block: non-finite samples out, DC blocker, delay of the reference, one Kalman canceller
per microphone. The detector branch is the linear residual of one microphone and nothing more;
the voice branch is that residual behind the suppressor. The second microphone takes over when
the first is dead; a two-microphone canceller or beamformer is still to come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kwsd.block import Block
from kwsd.dsp.dc_blocker import DcBlocker
from kwsd.dsp.delay import DelayLine, DelayTracker
from kwsd.dsp.kalman import HOP_SAMPLES, KalmanCanceller, ReferenceSpectra
from kwsd.dsp.metrics import CLIP_LEVEL, FrontEndMetrics, Meter
from kwsd.dsp.reblock import Reblock
from kwsd.dsp.suppressor import VOICE_DELAY_SAMPLES, Suppressor

FloatArray = NDArray[np.float32]

DEAD_POWER = 1e-12
"""Mean power of a microphone that gives nothing (-120 dBFS)."""


@dataclass(frozen=True)
class FrontEndConfig:
    """Which pieces run, and how long the echo path may be."""

    dc_block: bool = True
    """High-pass at 20 Hz on every channel."""

    aec: bool = True
    """Echo cancellation, where there is a reference."""

    tail_ms: int = 320
    """Length of the echo path behind the bulk delay."""

    delay_search_ms: int = 500
    """Largest bulk delay; 0 switches the search off."""

    suppress_echo: bool = True
    """Residual-echo suppression on the voice branch."""

    noise_reduction: bool = True
    """Noise reduction on the voice branch."""

    voice_branch: bool = True
    """Compute the voice branch at all; without it `voice` repeats the detector branch."""


@dataclass(frozen=True)
class FrontEndFrame:
    """What a call of `FrontEnd.process` completes; the three signals have equal length."""

    start_sample: int
    """Stream position of the first sample of `detector`."""

    detector: FloatArray
    """float32 [n], linear residual, aligned with the input."""

    voice: FloatArray
    """float32 [n], lags `detector` by `voice_delay_samples`."""

    reference: FloatArray
    """float32 [n], the reference as the canceller saw it; zeros without one."""

    metrics: FrontEndMetrics
    """State at the end of the frame."""


class FrontEnd:
    """Streaming front end; blocks of any length give the same output.

    Parameters
    ----------
    config : FrontEndConfig
        What runs.
    microphones : int
        1 or 2.
    has_reference : bool
        Whether blocks carry what the loudspeaker plays.
    """

    voice_delay_samples = VOICE_DELAY_SAMPLES

    def __init__(self, config: FrontEndConfig, microphones: int, has_reference: bool) -> None:
        self.config = config
        self._microphones = microphones
        self._has_reference = has_reference
        channels = microphones + 1
        self._reblock = Reblock(channels, HOP_SAMPLES)
        self._dc = DcBlocker(channels, HOP_SAMPLES)
        partitions = max(1, config.tail_ms * 16 // HOP_SAMPLES)
        self._spectra = ReferenceSpectra(partitions)
        self._cancellers = [KalmanCanceller(partitions) for _ in range(microphones)]
        self._tracker = DelayTracker(config.delay_search_ms)
        self._line = DelayLine(config.delay_search_ms * 16)
        self._suppressor = Suppressor()
        self._meter = Meter(microphones)
        self._next_sample = 0

    @property
    def _cancels(self) -> bool:
        return self.config.aec and self._has_reference

    def reset(self) -> None:
        """Back to the state of a new object."""
        self._restart()
        for canceller in self._cancellers:
            canceller.reset()
        self._tracker.reset()
        self._meter.reset()
        self._next_sample = 0

    def _restart(self) -> None:
        """Forget signals, keep what was learnt of the room: after a gap."""
        self._reblock.reset()
        self._dc.reset()
        self._spectra.reset()
        self._line.reset()
        self._suppressor.reset()

    def process(self, block: Block) -> FrontEndFrame:
        """Take a block of any length, give what it completes (possibly nothing).

        Raises
        ------
        ValueError
            The block has another number of microphones than the front end was made for.
        """
        if block.mics.shape[0] != self._microphones:
            raise ValueError(
                f"block has {block.mics.shape[0]} microphones, front end has {self._microphones}"
            )
        if block.gap:
            self._restart()
            applied = self._tracker.applied_samples
            self._tracker.reset()
            self._tracker.applied_samples = applied
        if self._reblock.held_samples == 0:
            self._next_sample = block.start_sample
        reference = block.reference
        if reference is None:
            reference = np.zeros(block.samples, np.float32)
        joined = np.concatenate([block.mics, reference[None]]).astype(np.float32, copy=False)
        bad = ~np.isfinite(joined)
        if bad.any():
            self._meter.bad_samples += int(bad.sum())
            joined = np.where(bad, np.float32(0.0), joined)
        clipped = np.abs(joined[: self._microphones]) >= CLIP_LEVEL
        self._meter.clipped_samples += int(clipped.sum())
        return self._run(joined)

    def flush(self) -> FrontEndFrame:
        """Give what is still held back, padded to a whole block and cut again."""
        held = self._reblock.held_samples
        if held == 0:
            return self._frame([])
        pad = np.zeros((self._microphones + 1, HOP_SAMPLES - held), np.float32)
        frame = self._run(pad)
        return FrontEndFrame(
            frame.start_sample,
            frame.detector[:held],
            frame.voice[:held],
            frame.reference[:held],
            frame.metrics,
        )

    def _run(self, joined: FloatArray) -> FrontEndFrame:
        return self._frame([self._block(part) for part in self._reblock.push(joined)])

    def _frame(self, parts: list[tuple[FloatArray, FloatArray, FloatArray]]) -> FrontEndFrame:
        start = self._next_sample
        self._next_sample += HOP_SAMPLES * len(parts)
        none = np.zeros(0, np.float32)
        detector, voice, reference = (
            np.concatenate([none, *(part[i] for part in parts)]) for i in range(3)
        )
        delay = self._tracker.delay_samples if self._cancels else None
        metrics = self._meter.snapshot(self._has_reference, delay)
        return FrontEndFrame(start, detector, voice, reference, metrics)

    def _block(self, joined: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """One block of 16 ms: detector, voice and aligned reference."""
        if self.config.dc_block:
            joined = self._dc.process(joined)
        mics, reference = joined[:-1], joined[-1]
        residuals, echoes = (
            [mics[i] for i in range(len(mics))],
            [np.zeros_like(reference)] * len(mics),
        )
        aligned = reference
        if self._cancels:
            aligned = self._align(mics, reference)
            self._spectra.push(aligned)
            for i, canceller in enumerate(self._cancellers):
                residuals[i], echoes[i] = canceller.process(mics[i], self._spectra)
        used = self._choose(mics)
        self._meter.update(mics, aligned, residuals[used], used)
        if not self.config.voice_branch:
            return residuals[used], residuals[used], aligned
        voice = self._suppressor.process(
            residuals[used],
            echoes[used] if self.config.suppress_echo else np.zeros_like(reference),
            self.config.noise_reduction,
        )
        return residuals[used], voice, aligned

    def _align(self, mics: FloatArray, reference: FloatArray) -> FloatArray:
        """Delay the reference; when the delay changes the echo paths move with it."""
        if self.config.delay_search_ms > 0:
            before = self._tracker.applied_samples
            if self._tracker.push(mics[self._choose(mics)], reference):
                moved = (before - self._tracker.applied_samples) // HOP_SAMPLES
                self._spectra.reset()
                for canceller in self._cancellers:
                    canceller.shift(moved)
        return self._line.push(reference, self._tracker.applied_samples)

    def _choose(self, mics: FloatArray) -> int:
        """Microphone 0, unless it has given nothing for a while and the other one has."""
        power = self._meter.mic_power
        if len(mics) > 1 and power[0] < DEAD_POWER <= power[1]:
            return 1
        return 0
