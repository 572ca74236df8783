"""Blended windows: label and features in the same shares, and nothing asked where one must not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("soxr", reason="training pools need soxr")

from kwsd.dsp.features import BANDS
from kwsd.train.augment import WINDOW_FRAMES, Batch
from kwsd.train.blend import FAINT, blend

COUNT = 64
PHRASES = 3


def numbered() -> Batch:
    """Window i has a one at place i of its features, and at place i of its labels."""
    features = np.zeros((COUNT, BANDS, WINDOW_FRAMES), np.float32)
    label = np.zeros((COUNT, COUNT, PHRASES), np.float32)
    for number in range(COUNT):
        features[number, number % BANDS, number] = 1.0
        label[number, number, number % PHRASES] = 1.0
    return Batch(features, label, np.ones_like(label))


def test_features_and_labels_are_blended_in_the_same_shares() -> None:
    given = numbered()
    mixed = blend(np.random.default_rng(1), given)
    partners = set()
    for number in range(COUNT):
        shares = mixed.label[number].sum(axis=-1)
        np.testing.assert_allclose(mixed.features[number].sum(axis=0)[:COUNT], shares, atol=1e-6)
        assert shares.sum() == pytest.approx(1.0)
        assert shares[number] >= 0.5, "a window is mostly itself"
        partners |= {int(other) for other in np.flatnonzero(shares) if other != number}
    assert len(partners) > COUNT // 2
    assert mixed.features.dtype == mixed.label.dtype == mixed.weight.dtype == np.float32
    np.testing.assert_array_equal(given.features, numbered().features)


def test_a_step_is_asked_for_where_both_windows_ask_for_it() -> None:
    rng = np.random.default_rng(2)
    given = numbered()
    weight = (rng.random(given.weight.shape) < 0.7).astype(np.float32)
    mixed = blend(np.random.default_rng(3), given._replace(weight=weight))
    assert not np.any(mixed.weight > weight)
    heard = faint = 0
    for number in range(COUNT):
        shares = mixed.label[number].sum(axis=-1)
        others = [int(other) for other in np.flatnonzero(shares) if other != number]
        if not others:
            expected = weight[number]
        elif shares[others[0]] < FAINT:
            expected, faint = weight[number], faint + 1
        else:
            expected, heard = weight[number] * weight[others[0]], heard + 1
        np.testing.assert_array_equal(mixed.weight[number], expected)
    assert heard > 5 and faint > 5


def test_the_same_draws_give_the_same_batch() -> None:
    one, two = (blend(np.random.default_rng(4), numbered()) for _ in range(2))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right)
