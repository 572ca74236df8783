"""The DSP stage in C: the interface of `kwsd.dsp.frontend.FrontEnd`, one native call a block."""

from __future__ import annotations

import ctypes
from collections.abc import Collection

import numpy as np

from kwsd.block import Block
from kwsd.dsp.channel_rows import join_channels
from kwsd.dsp.features import BANDS
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.dsp.frontend_frame import FrontEndFrame, branch_delays
from kwsd.dsp.kalman import HOP_SAMPLES
from kwsd.dsp.metrics import FrontEndMetrics
from kwsd.dsp.native import (
    ALIGNMENT_BYTES,
    SIGNALS,
    NativeConfig,
    NativeMetrics,
    NativeOutput,
    load_library,
)


class NativeFrontEnd:
    """Streaming front end; blocks of any length give the same output.

    Parameters
    ----------
    config : FrontEndConfig
        What runs.
    microphones : int
        1 or 2.
    has_reference : bool
        Whether blocks carry what the loudspeaker plays.
    companions : bool
        Cancel with distortion products of the reference too.
    features : collection of str
        Signals whose features are asked for, of `kwsd.dsp.native.SIGNALS`.

    Raises
    ------
    NativeMissing
        The core is not there.
    ValueError
        Another number of microphones, or features of a signal that the stage has not.
    """

    def __init__(
        self,
        config: FrontEndConfig,
        microphones: int,
        has_reference: bool,
        companions: bool = True,
        features: Collection[str] = ("detector",),
    ) -> None:
        if unknown := set(features) - set(SIGNALS):
            raise ValueError(f"features of {', '.join(sorted(unknown))}: must be of {SIGNALS}")
        self.config = config
        self._library = load_library()
        self._microphones = microphones
        self._has_reference = has_reference
        self._of = [name in features for name in SIGNALS]
        native = NativeConfig(
            microphones=microphones,
            has_reference=has_reference,
            dc_block=config.dc_block,
            aec=config.aec,
            companions=companions,
            tail_ms=config.tail_ms,
            delay_search_ms=config.delay_search_ms,
            drift=config.drift,
            combine=config.combine,
            mic_spacing_mm=config.mic_spacing_mm if microphones == 2 else 0,
            suppress_echo=config.suppress_echo,
            noise_reduction=config.noise_reduction,
            voice_branch=config.voice_branch,
            features=(ctypes.c_int32 * len(SIGNALS))(*self._of),
        )
        self.state_bytes = int(self._library.kws_frontend_size(native))
        """Memory of the native state."""

        if self.state_bytes == 0:
            raise ValueError(
                f"front end for {microphones} microphones, tail of {config.tail_ms} ms: "
                "must be 1 or 2 microphones"
            )
        self._memory = np.zeros(self.state_bytes + ALIGNMENT_BYTES, np.uint8)
        address = self._memory.ctypes.data
        self._state = address + -address % ALIGNMENT_BYTES
        self._library.kws_frontend_init(self._state, native)
        self._delays = branch_delays(config, microphones)
        self._output = NativeOutput()
        self._room_samples = 0
        self._next_sample = 0

    def reset(self) -> None:
        """Back to the state of a new object."""
        self._library.kws_frontend_reset(self._state)
        self._next_sample = 0

    def process(self, block: Block) -> FrontEndFrame:
        """Take a block of any length, give what it completes; see `FrontEnd.process`."""
        joined = np.ascontiguousarray(join_channels(block, self._microphones, self._has_reference))
        if block.gap:
            self._library.kws_frontend_gap(self._state)
        if self._library.kws_frontend_held(self._state) == 0:
            self._next_sample = block.start_sample
        self._make_room(block.samples)
        self._library.kws_frontend_process(
            self._state, joined.ctypes.data, block.samples, self._output
        )
        return self._frame()

    def flush(self) -> FrontEndFrame:
        """Give what is still held back, padded to a whole block and cut again."""
        self._make_room(0)
        self._library.kws_frontend_flush(self._state, self._output)
        return self._frame()

    def _make_room(self, samples: int) -> None:
        if samples + HOP_SAMPLES <= self._room_samples:
            return
        self._room_samples = samples + HOP_SAMPLES
        frames = int(self._library.kws_frontend_frames(samples))
        self._signals = np.zeros((len(SIGNALS), self._room_samples), np.float32)
        self._features = np.zeros((len(SIGNALS), frames, BANDS), np.float32)
        output = self._output
        for index in range(len(SIGNALS)):
            output.signals[index] = self._signals[index].ctypes.data
            output.features[index] = self._features[index].ctypes.data

    def _frame(self) -> FrontEndFrame:
        output = self._output
        start = self._next_sample
        self._next_sample += output.samples
        signals = self._signals[:, : output.samples].copy()
        features = {
            name: self._features[index, : output.frames].copy()
            for index, name in enumerate(SIGNALS)
            if self._of[index]
        }
        detector, voice, residual, reference = signals
        return FrontEndFrame(
            start, detector, voice, residual, reference, self._metrics(), features, self._delays
        )

    def _metrics(self) -> FrontEndMetrics:
        now = NativeMetrics()
        self._library.kws_frontend_snapshot(self._state, ctypes.byref(now))
        return FrontEndMetrics(
            mic_level_dbfs=tuple(now.mic_level_dbfs[: self._microphones]),
            reference_level_dbfs=now.reference_level_dbfs if self._has_reference else None,
            clipped_samples=now.clipped_samples,
            bad_samples=now.bad_samples,
            erle_db=now.erle_db if now.erle_known else None,
            echo_delay_ms=None if now.delay_samples < 0 else now.delay_samples / 16.0,
            drift_ppm=now.drift_ppm if now.drift_ppm != 0.0 else None,
            echo_active=bool(now.echo_active),
            noise_floor_dbfs=now.noise_floor_dbfs,
            snr_db=now.snr_db,
            doa_deg=now.doa_deg if now.doa_known else None,
            microphone=now.microphone,
            dead_microphones=tuple(index for index in range(self._microphones) if now.dead[index]),
        )
