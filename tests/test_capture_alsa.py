"""Samples of ALSA devices, encoded by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kwsd.capture.alsa import decode


@pytest.mark.parametrize(
    ("sample_format", "bits"), [("S16_LE", 16), ("S24_3LE", 24), ("S32_LE", 32)]
)
def test_samples_of_every_format_are_shares_of_full_scale(sample_format: str, bits: int) -> None:
    full_scale = 2 ** (bits - 1)
    values = [0, 1, -1, full_scale - 1, -full_scale, 0x1234 << (bits - 16)]
    data = b"".join(value.to_bytes(bits // 8, "little", signed=True) for value in values)
    samples = decode(np.frombuffer(data, np.uint8), sample_format)
    assert samples.dtype == np.float32
    # Exact, but for the largest of 32 bits: that is rounded to full scale.
    assert samples.tolist() == [float(np.float32(value / full_scale)) for value in values]
