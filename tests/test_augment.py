"""Training windows: labels stand where the word ends, draws repeat, and silence stays finite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("soxr", reason="training pools need soxr")

from kwsd.dsp.features import BANDS
from kwsd.train import augment
from kwsd.train.augment import LABEL_STEPS, WINDOW_FRAMES, HardPlace, Windows
from kwsd.train.layers import STRIDE
from kwsd.train.pools import Pools, Word
from kwsd.train.stationary import stationary_noises

TONE_BAND = 20
WORD_FRAMES = 45
TONE_FRAMES = 8
TAIL_FRAMES = 20
STEPS = WINDOW_FRAMES // STRIDE


def tone_word(real: bool) -> Word:
    """A "word" whose last 80 ms are loud in one band, with silence behind them."""
    frames = np.full((WORD_FRAMES + TAIL_FRAMES, BANDS), -18.0, np.float16)
    frames[: WORD_FRAMES - TONE_FRAMES] = -6.0
    frames[WORD_FRAMES - TONE_FRAMES : WORD_FRAMES, TONE_BAND - 1 : TONE_BAND + 2] = 2.0
    return Word(frames, 0, WORD_FRAMES, real)


def made_up_pools(kinds: tuple[str, ...] = ("speech", "synthetic", "noise", "residue")) -> Pools:
    rng = np.random.default_rng(3)
    streams = {kind: rng.normal(-9, 1, (2000, BANDS)).astype(np.float16) for kind in kinds}
    for kind in ("speech", "synthetic", "noise", "residue"):
        streams.setdefault(kind, np.zeros((0, BANDS), np.float16))
    return Pools([tone_word(real=False), tone_word(real=True)], streams)


def test_a_batch_has_the_shapes_the_network_takes() -> None:
    batch = Windows(made_up_pools()).batch(np.random.default_rng(1), 3, 5)
    assert batch.features.shape == (8, BANDS, WINDOW_FRAMES)
    assert batch.features.dtype == np.float32
    assert batch.label.shape == batch.weight.shape == (8, STEPS, 1)
    assert np.isfinite(batch.features).all()


def test_only_windows_with_the_whole_word_are_labelled() -> None:
    batch = Windows(made_up_pools()).batch(np.random.default_rng(2), 16, 24)
    labelled = batch.label[..., 0].sum(axis=1)
    # A word near the end of its window leaves room for a part of the label only.
    assert np.all(labelled[:16] > 0) and labelled.max() == LABEL_STEPS
    assert np.all(batch.label[16:] == 0)
    assert np.all(batch.weight[16:] == 1)


def test_the_label_begins_at_the_end_of_the_word() -> None:
    batch = Windows(made_up_pools()).batch(np.random.default_rng(4), 60, 0)
    gaps_ms = []
    for features, label in zip(batch.features, batch.label[..., 0], strict=True):
        # The features let a steady sound fade: its beginning is what stands out.
        tone_begins = int(np.argmax(np.diff(features[TONE_BAND] - features[TONE_BAND + 8]))) + 1
        label_begins = int(np.argmax(label)) * STRIDE
        gaps_ms.append(10.0 * (label_begins - tone_begins - TONE_FRAMES))
    # Tempo, noise and masks move single windows; the middle one stands.
    assert -20.0 <= float(np.median(gaps_ms)) <= 25.0


@pytest.mark.parametrize("longer_by", [-40, 0, 60, 400])
def test_a_word_of_any_length_ends_inside_its_window(longer_by: int) -> None:
    pools = made_up_pools()
    length = augment.TOTAL_FRAMES + longer_by
    frames = np.full((length, BANDS), -6.0, np.float16)
    long = replace(pools, words=[Word(frames, 0, length, real) for real in (False, True)])
    batch = Windows(long).batch(np.random.default_rng(6), 40, 0)
    assert np.all(batch.label[..., 0].sum(axis=1) > 0)


def test_nothing_is_asked_for_right_before_and_behind_a_label() -> None:
    batch = Windows(made_up_pools()).batch(np.random.default_rng(5), 20, 0)
    for label, weight in zip(batch.label[..., 0], batch.weight[..., 0], strict=True):
        first = int(np.argmax(label))
        assert np.all(weight[label > 0] == 1)
        assert np.all(weight[first - 3 : first] == 0)
        behind = weight[first + LABEL_STEPS : first + LABEL_STEPS + 16]
        assert np.all(behind == 0)
        assert np.all(weight[: max(0, first - 12)] == 1)


def test_the_same_seed_draws_the_same_windows() -> None:
    first, second = (Windows(made_up_pools()).batch(np.random.default_rng(6), 4, 8) for _ in "ab")
    np.testing.assert_array_equal(first.features, second.features)
    other = Windows(made_up_pools()).batch(np.random.default_rng(7), 4, 8)
    assert not np.array_equal(first.features, other.features)


@pytest.mark.parametrize("kinds", [("speech",), ("noise", "residue"), ("synthetic", "noise")])
def test_pools_without_some_kinds_still_give_windows(kinds: tuple[str, ...]) -> None:
    batch = Windows(made_up_pools(kinds)).batch(np.random.default_rng(8), 8, 8)
    assert np.isfinite(batch.features).all()


def test_digital_silence_becomes_a_noise_floor() -> None:
    silent = np.full((2000, BANDS), np.log(1e-9), np.float16)
    pools = Pools([tone_word(real=False)], {"speech": silent, "noise": silent})
    batch = Windows(pools).batch(np.random.default_rng(9), 0, 40)
    assert np.isfinite(batch.features).all()
    # A frozen smoother would give 0 everywhere; a floor moves from frame to frame, little where
    # the silence itself is louder than the floor that was drawn.
    assert np.all(batch.features.std(axis=2).mean(axis=1) > 0.003)


def test_half_of_a_recorded_word_is_never_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room before a word must not count as its first half: the rest would be the whole word."""
    monkeypatch.setattr(augment, "HALF_WORD_SHARE", 1.0)
    monkeypatch.setattr(augment, "NOISE_SHARE", 0.0)
    monkeypatch.setattr(augment, "CHANGED_SHARE", 0.0)
    lead = 60
    frames = np.full((lead + WORD_FRAMES + TAIL_FRAMES, BANDS), -18.0, np.float16)
    # Bands below the middle in the first third of the word, above it in the last third.
    third = WORD_FRAMES // 3
    frames[lead : lead + third, 4:8] = 2.0
    frames[lead + 2 * third : lead + WORD_FRAMES, 30:34] = 2.0
    word = Word(frames, lead, lead + WORD_FRAMES, True)
    windows = Windows(Pools([word], {"speech": np.full((2000, BANDS), -18.0, np.float16)}))
    heard = np.zeros((60, 2), bool)
    for seed in range(60):
        window, _ = windows._negative(np.random.default_rng(seed))
        others = window[:, 15:20].max(axis=1) + 1e-3
        heard[seed] = [(window[:, b : b + 4].max(axis=1) > 10 * others).any() for b in (4, 30)]
    assert heard.any(axis=0).all() and not heard.all(axis=1).any()


def test_varied_voices_differ_more_and_say_the_same() -> None:
    pools = made_up_pools()
    spread = {}
    for varied in (False, True):
        windows = Windows(pools, varied=varied)
        words = [windows._word(np.random.default_rng(seed), 0) for seed in range(60)]
        # The even part of the word, with one sound a frame: how much its level changes in time.
        spread[varied] = np.mean([np.log(w[a : end - 12]).std() for w, a, end in words])
    assert spread[False] < 0.1 < 0.3 < spread[True]


def test_mined_places_are_drawn_again() -> None:
    pools = made_up_pools(("speech", "noise"))
    pools.negatives["speech"][1200:1260, TONE_BAND] = 6.0

    def windows_with_the_tone(mined: bool) -> int:
        windows = Windows(pools)
        if mined:
            windows.hard = [HardPlace("speech", 1260, False)]
        features = windows.batch(np.random.default_rng(10), 0, 40).features
        contrast = features[:, TONE_BAND].max(axis=1) - features[:, TONE_BAND + 8].max(axis=1)
        return int((contrast > 0.5).sum())

    # Two places share one stream of 20 s: by chance alone few windows hold the tone.
    assert windows_with_the_tone(mined=True) >= windows_with_the_tone(mined=False) + 4


@pytest.mark.parametrize("roomy", [False, True])
def test_what_was_mined_in_a_room_is_heard_in_one(
    roomy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "HARD_SHARE", 1.0)
    monkeypatch.setattr(augment, "HALF_WORD_SHARE", 0.0)
    in_rooms = []

    def counted(rng: object, power: np.ndarray, ripples: object) -> np.ndarray:
        in_rooms.append(len(power))
        return power

    monkeypatch.setattr(augment, "reverberated", counted)
    windows = Windows(made_up_pools(("speech",)))
    windows.hard = [HardPlace("speech", 1000, roomy)]
    windows.batch(np.random.default_rng(13), 0, 60)
    assert in_rooms == [60] if roomy else 10 < in_rooms[0] < 50


def test_spliced_negatives_are_new_and_unlabelled() -> None:
    pools = made_up_pools(("speech", "synthetic", "noise"))
    spliced = Windows(pools, splice_share=0.9).batch(np.random.default_rng(12), 0, 20)
    plain = Windows(pools).batch(np.random.default_rng(12), 0, 20)
    assert spliced.features.shape == plain.features.shape
    assert np.isfinite(spliced.features).all()
    assert np.all(spliced.label == 0) and np.all(spliced.weight == 1)
    assert not np.array_equal(spliced.features, plain.features)


def test_stationary_noises_are_level_and_steady() -> None:
    for noise in stationary_noises(np.random.default_rng(11), count=6, seconds=4.0):
        assert noise.std() == pytest.approx(0.05, rel=1e-3)
        seconds = noise.reshape(4, -1).std(axis=1)
        assert seconds.max() < 2.0 * seconds.min()


def test_a_phrase_is_no_other_phrase() -> None:
    pools = made_up_pools()
    both = [*pools.words, *(replace(word, phrase=1) for word in pools.words)]
    windows = Windows(Pools(both, pools.negatives), phrases=2)
    batch = windows.batch(np.random.default_rng(14), 6, 4)
    assert batch.label.shape == (16, STEPS, 2)
    own = batch.label.sum(axis=1) > 0
    np.testing.assert_array_equal(own[:6], [[True, False]] * 6)
    np.testing.assert_array_equal(own[6:12], [[False, True]] * 6)
    assert not own[12:].any()
    # Where one phrase ends the other one is asked for, and is not there.
    assert np.all(batch.weight[:6, :, 1] == 1) and np.all(batch.weight[6:12, :, 0] == 1)


def test_room_tone_lies_under_words_and_is_no_negative_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(augment.SNR_RANGE_DB, "tone", (-10.0, -9.0))
    pools = made_up_pools(("speech", "noise", "tone"))
    # A tone that flickers: the features let a steady one fade.
    pools.negatives["tone"] += (8.0 * (np.arange(2000) // 10 % 2))[:, None].astype(np.float16)

    def flicker(*kinds: str) -> float:
        streams = {kind: pools.negatives[kind] for kind in kinds}
        batch = Windows(Pools(pools.words, streams)).batch(np.random.default_rng(15), 80, 0)
        behind = batch.features[:, :, -30:].std(axis=2).mean(axis=1)
        return float(np.mean(behind > 0.2))

    assert flicker("speech", "tone") > flicker("speech", "noise") + 0.1
    kinds = {Windows(pools)._kind(np.random.default_rng(seed)) for seed in range(200)}
    assert kinds == {"speech", "noise"}
