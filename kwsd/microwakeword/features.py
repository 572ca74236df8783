"""Features of microWakeWord models: the audio front end of TensorFlow Lite Micro.

Place in the chain: behind the detector branch, before the model. 40 bands from 125 to 7500 Hz over
30 ms every 10 ms, noise reduction, PCAN gain control and a logarithm, all in fixed point; computed
by the optional package `pymicro-features`, which is what the models' makers use.
"""

from __future__ import annotations

import importlib
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.errors import AudioError, RuntimeUnavailable
from kwsd.feature_track import FeatureKind

FloatArray = NDArray[np.float32]

BANDS = 40
FRAME_SAMPLES = 480
HOP_SAMPLES = 160
_CHUNK_BYTES = 2 * HOP_SAMPLES


def _front_end() -> Any:
    try:
        return importlib.import_module("pymicro_features").MicroFrontend()
    # A wheel for another Python or libc fails with more than ImportError.
    except (ImportError, OSError, AttributeError) as error:
        raise RuntimeUnavailable(
            f"microWakeWord models need the package pymicro-features ({error}): "
            "pip install 'pymicro-features>=2'"
        ) from None


@cache
def micro_features(step_ms: int) -> FeatureKind:
    """The definition with one frame every 10, 20, ... ms; one object for each distance."""
    every = step_ms // 10
    return FeatureKind(
        f"microWakeWord {step_ms} ms",
        FRAME_SAMPLES,
        HOP_SAMPLES * every,
        partial(MicroFeatures, every),
    )


class MicroFeatures:
    """Streaming features; the same frames whatever the block sizes.

    Parameters
    ----------
    every : int
        Keep the first of so many frames. The package computes one every 10 ms; its noise estimate
        follows that pace, so frames that are kept every 20 ms are close to those of a front end
        with a 20 ms step, not equal.

    Raises
    ------
    RuntimeUnavailable
        `pymicro-features` is not installed.
    """

    def __init__(self, every: int = 1) -> None:
        self._every = every
        self._front_end = _front_end()
        self.reset()

    def reset(self) -> None:
        """Forget held samples and the noise estimate."""
        self._front_end.reset()
        self._held = b""
        self._frames_seen = 0

    def process(self, pcm: FloatArray) -> FloatArray:
        """Take samples, give the frames that they complete.

        Parameters
        ----------
        pcm : ndarray, float32 [samples]
            Next samples at 16 kHz, full scale 1, any number; rounded to 16 bits, saturated.

        Returns
        -------
        ndarray, float32 [frames, BANDS]
            Logarithmic energies, 0 to about 26.

        Raises
        ------
        AudioError
            A sample is not finite; nothing of this call has been taken.
        """
        if not np.isfinite(pcm).all():
            raise AudioError(
                "microWakeWord features: the audio is not finite; look for NaN and reset the stream"
            )
        stored = np.clip(np.rint(pcm * np.float32(32768.0)), -32768, 32767).astype("<i2")
        held = self._held + stored.tobytes()
        whole = len(held) // _CHUNK_BYTES * _CHUNK_BYTES
        frames = []
        for start in range(0, whole, _CHUNK_BYTES):
            bands = self._front_end.process_samples(held[start : start + _CHUNK_BYTES]).features
            if bands:
                if self._frames_seen % self._every == 0:
                    frames.append(bands)
                self._frames_seen += 1
        self._held = held[whole:]
        return np.asarray(frames, np.float32).reshape(-1, BANDS)
