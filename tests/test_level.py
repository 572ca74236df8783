"""The level track against a plain search through all hops."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kwsd.level import HOP_SAMPLES, WINDOW_SAMPLES, LevelTrack


def loudest_dbfs(pcm: np.ndarray, start: int, end: int) -> float:
    """By definition: whole hops that end in the second before a position."""
    powers = [0.0]
    for index in range(len(pcm) // HOP_SAMPLES):
        hop = pcm[index * HOP_SAMPLES : (index + 1) * HOP_SAMPLES].astype(np.float64)
        position = start + (index + 1) * HOP_SAMPLES
        if end - WINDOW_SAMPLES < position <= end:
            powers.append(float(np.mean(hop**2)))
    return 10.0 * math.log10(max(powers)) if max(powers) > 0 else -math.inf


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    start=st.integers(0, 100_000),
    blocks=st.lists(st.integers(0, 700), min_size=1, max_size=60),
    lag=st.integers(0, 900),
)
def test_loudest_of_the_last_second(seed: int, start: int, blocks: list[int], lag: int) -> None:
    rng = np.random.default_rng(seed)
    track = LevelTrack(start)
    heard = np.zeros(0, np.float32)
    for samples in blocks:
        loudness = 10 ** rng.uniform(-4, 0) * (rng.random() > 0.2)
        fresh = (rng.standard_normal(samples) * loudness).astype(np.float32)
        heard = np.concatenate([heard, fresh])
        track.process(fresh)
        asked = start + len(heard) - lag
        wanted = loudest_dbfs(heard, start, asked)
        assert math.isclose(track.loudest_dbfs(asked), wanted, abs_tol=1e-9)


def test_what_was_loud_is_forgotten_after_a_second() -> None:
    track = LevelTrack()
    track.process(np.full(HOP_SAMPLES, 0.5, np.float32))
    track.process(np.zeros(WINDOW_SAMPLES, np.float32))
    assert track.loudest_dbfs(WINDOW_SAMPLES) > -10.0
    assert track.loudest_dbfs(WINDOW_SAMPLES + HOP_SAMPLES) == -math.inf
