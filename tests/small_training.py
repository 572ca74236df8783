"""What a training of seconds learns from: a band that is loud for 0.4 s, in noise."""

from __future__ import annotations

import numpy as np

from kwsd.dsp.features import BANDS
from kwsd.train.network import Shape
from kwsd.train.pools import Pools, Word

SMALL = Shape(channels=8, stem_frames=5, filters=((4, 6, 2),), kernels=(3, 5), dilations=(1, 2))


def small_pools() -> Pools:
    """One word, once synthetic and once real, and two kinds of negatives."""
    rng = np.random.default_rng(1)
    words = []
    for real in (False, True):
        frames = rng.normal(-9, 1, (60, BANDS)).astype(np.float16)
        frames[:40, 15:18] += 6
        words.append(Word(frames, 0, 40, real))
    streams = {
        kind: rng.normal(-9, 1, (1500, BANDS)).astype(np.float16) for kind in ("speech", "noise")
    }
    return Pools(words, streams)


def quiet(_: str) -> None:
    """A report that nobody reads."""
