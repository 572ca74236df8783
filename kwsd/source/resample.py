"""Rate conversion in front of the chain: any rate to 16 kHz, streaming, through soxr.

soxr compensates the delay of its linear-phase filters, so output sample ``i`` belongs to the time
``i / 16000`` of the input.
"""

from __future__ import annotations

import numpy as np
import soxr

from kwsd.block import SAMPLE_RATE_HZ, FloatArray

_QUALITY = "HQ"


class Resampler:
    """Streaming resampler for several channels that share one clock.

    Parameters
    ----------
    rate_hz : int
        Rate of the input; 16000 passes samples through unchanged.
    channels : int
        Columns of the input.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._channels = channels
        self._stream = (
            None
            if rate_hz == SAMPLE_RATE_HZ
            else soxr.ResampleStream(
                rate_hz, SAMPLE_RATE_HZ, channels, dtype="float32", quality=_QUALITY
            )
        )

    def process(self, samples: FloatArray) -> FloatArray:
        """Next input, float32 [samples, channels] -> float32 [any number, channels]."""
        return self._run(samples, last=False)

    def flush(self) -> FloatArray:
        """Samples that the filter still holds; the stream ends here."""
        return self._run(np.zeros((0, self._channels), np.float32), last=True)

    def _run(self, samples: FloatArray, last: bool) -> FloatArray:
        if self._stream is None:
            return samples
        return np.asarray(
            self._stream.resample_chunk(np.ascontiguousarray(samples, np.float32), last=last),
            dtype=np.float32,
        ).reshape(-1, self._channels)
