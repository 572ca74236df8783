"""Synthetic source and resampler."""

import numpy as np
import pytest

from kwsd.source.resample import Resampler
from kwsd.source.synthetic import Burst, Scene, SyntheticSource


def test_scene_is_the_same_every_time():
    scene = Scene(1.0, microphones=2, has_reference=True, bursts=(Burst(0.2, 0.3, 1000.0),))
    one, other = (list(SyntheticSource(scene).blocks()) for _ in range(2))
    assert sum(block.samples for block in one) == 16000
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.mics, b.mics)


def test_burst_level_and_place():
    scene = Scene(1.0, bursts=(Burst(0.2, 0.5, 1000.0, -20.0),), noise_dbfs=float("-inf"))
    mic = np.concatenate([b.mics for b in SyntheticSource(scene).blocks()], axis=1)[0]
    assert not mic[:3200].any() and not mic[11200:].any()
    assert 20 * np.log10(np.sqrt(np.mean(mic[4000:10400] ** 2))) == pytest.approx(-20.0, abs=0.1)


def test_echo_follows_reference():
    scene = Scene(
        0.5,
        has_reference=True,
        bursts=(Burst(0.1, 0.2, 500.0, in_reference=True),),
        noise_dbfs=float("-inf"),
    )
    blocks = list(SyntheticSource(scene).blocks())
    mic = np.concatenate([b.mics for b in blocks], axis=1)[0]
    reference = np.concatenate([b.reference for b in blocks])
    np.testing.assert_allclose(mic[320:], 0.5 * reference[:-320], atol=1e-6)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_resampler_does_not_depend_on_blocks(rate_hz):
    audio = np.random.default_rng(0).standard_normal((rate_hz // 2, 2)).astype(np.float32)
    whole = Resampler(rate_hz, 2)
    expected = np.concatenate([whole.process(audio), whole.flush()])
    cut = Resampler(rate_hz, 2)
    parts = [cut.process(audio[i : i + 317]) for i in range(0, len(audio), 317)]
    np.testing.assert_allclose(np.concatenate([*parts, cut.flush()]), expected, atol=1e-6)
