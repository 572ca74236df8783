"""Decision: state machine, near misses, level gate, estimates of onset and end."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.decision import CURVE_POINTS, NEAR_MISSES_KEPT, Decision, DecisionConfig
from kwsd.errors import ConfigError
from kwsd.level import LevelTrack

STEP = 320
CONFIG = DecisionConfig(
    threshold=0.8,
    rearm_threshold=0.5,
    refractory_s=1.0,
    smoothing_steps=4,
    level_gate_dbfs=-70.0,
    near_miss_threshold=0.4,
    delay_samples=1600,
    word_samples=8000,
)


def run(scores, config=CONFIG, level_dbfs=-30.0, decision=None):
    decision = decision or Decision(config)
    found = [decision.push(400 + STEP * i, s, level_dbfs) for i, s in enumerate(scores)]
    decision.flush()
    return [d for d in found if d is not None], decision


def test_one_utterance_fires_once():
    found, decision = run([0.0] * 50 + [0.95] * 30 + [0.0] * 100)
    assert len(found) == 1
    assert found[0].sample == 400 + STEP * 53
    assert found[0].score == pytest.approx(0.95)
    assert not decision.near_misses


def test_long_high_score_does_not_fire_again():
    found, _ = run([0.0] * 10 + [1.0] * 1000)
    assert len(found) == 1


def test_smoothing_needs_more_than_one_high_step():
    assert run([1.0, 1.0, 1.0, 0.0] * 1)[0] == []
    assert len(run([1.0] * 4)[0]) == 1


def test_what_reaches_the_threshold_is_a_word():
    assert len(run([1.0] * 4, replace(CONFIG, threshold=1.0))[0]) == 1


def test_second_word_within_the_refractory_time_is_a_near_miss():
    found, decision = run([1.0] * 10 + [0.0] * 10 + [1.0] * 10 + [0.0] * 10)
    assert len(found) == 1
    assert [miss.reason for miss in decision.near_misses] == ["refractory"]


def test_second_word_after_the_refractory_time():
    found, _ = run([1.0] * 10 + [0.0] * 50 + [1.0] * 10)
    assert len(found) == 2


def test_no_second_wake_without_falling_below_the_rearm_threshold():
    assert len(run([1.0] * 10 + [0.6] * 100 + [1.0] * 10)[0]) == 1
    assert len(run([1.0] * 10 + [0.6] * 100 + [0.3] * 10 + [1.0] * 10)[0]) == 2


def test_level_gate():
    found, decision = run([1.0] * 20 + [0.0] * 10, level_dbfs=-80.0)
    assert found == []
    assert [miss.reason for miss in decision.near_misses] == ["too quiet"]


def test_words_of_the_loudspeaker_do_not_wake():
    decision = Decision(CONFIG)
    for index in range(10):
        found = decision.push(400 + STEP * index, 1.0, -30.0, said_by_loudspeaker=True)
        assert found is None
    decision.flush()
    assert decision.near_misses[0].reason == "loudspeaker said it"


def test_near_miss_has_its_curve_and_lists_are_bounded():
    found, decision = run(([0.0] * 200 + [0.7] * 10) * (NEAR_MISSES_KEPT + 5) + [0.0] * 5)
    assert found == []
    assert len(decision.near_misses) == NEAR_MISSES_KEPT
    miss = decision.near_misses[-1]
    assert miss.reason == "below threshold"
    assert miss.score == pytest.approx(0.7)
    assert len(miss.curve) == CURVE_POINTS
    assert max(score for _, score in miss.curve) == miss.score


def test_estimates_use_the_delay_and_the_rise():
    fast, _ = run([0.0] * 100 + [1.0] * 10)
    assert fast[0].end_sample == fast[0].sample - CONFIG.delay_samples
    assert fast[0].onset_sample == fast[0].end_sample - CONFIG.word_samples
    slow, _ = run([0.0] * 100 + [0.6] * 10 + [1.0] * 10)
    assert slow[0].end_sample == 400 + STEP * 100


def test_a_rise_of_more_than_half_a_second_moves_the_end_no_further():
    (slow,), _ = run([0.0] * 100 + [0.6] * 100 + [1.0] * 10)
    assert slow.end_sample == slow.sample - SAMPLE_RATE_HZ // 2


def test_no_word_starts_before_a_gap():
    decision = Decision(CONFIG)
    decision.reset(start_sample=100_000)
    samples = [100_400 + STEP * i for i in range(6)]
    found = [d for d in (decision.push(s, 1.0, -30.0) for s in samples) if d]
    assert 100_000 <= found[0].onset_sample < found[0].end_sample <= found[0].sample


def test_refractory_time_survives_a_gap():
    found, decision = run([1.0] * 10)
    decision.reset(start_sample=STEP * 10)
    more = [decision.push(400 + STEP * (10 + i), 1.0, -30.0) for i in range(10)]
    assert more == [None] * 10
    assert len(found) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"threshold": 1.1},
        {"rearm_threshold": 0.9},
        {"near_miss_threshold": 0.9},
        {"smoothing_steps": 0},
        {"refractory_s": -1.0},
    ],
)
def test_wrong_configuration(wrong):
    with pytest.raises(ConfigError):
        replace(CONFIG, **wrong)


score_lists = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 0.45, 0.6, 0.79, 0.9, 1.0]), st.integers(1, 40)),
    max_size=40,
)


@given(runs=score_lists, refractory_s=st.sampled_from([0.0, 0.1, 1.0]))
def test_properties(runs, refractory_s):
    scores = [score for score, count in runs for _ in range(count)]
    config = replace(CONFIG, refractory_s=refractory_s)
    found, decision = run(scores, config)
    smoothed = [sum(scores[max(0, i - 3) : i + 1]) / 4 for i in range(len(scores))]
    positions = [(d.sample - 400) // STEP for d in found]
    for detection, index in zip(found, positions, strict=True):
        assert detection.score >= config.threshold
        assert detection.score == pytest.approx(smoothed[index])
        assert 0 <= detection.onset_sample < detection.end_sample <= detection.sample
    for first, second in zip(positions, positions[1:], strict=False):
        assert (second - first) * STEP >= refractory_s * SAMPLE_RATE_HZ
        assert min(smoothed[first:second]) < config.rearm_threshold
    for miss in decision.near_misses:
        assert miss.score >= config.near_miss_threshold
    if found:
        assert max(smoothed) >= config.threshold
    elif smoothed:
        assert max(smoothed) < config.threshold


@given(cuts=st.lists(st.integers(1, 700), min_size=1, max_size=30))
def test_level_track_does_not_depend_on_blocks(cuts):
    audio = np.random.default_rng(0).standard_normal(sum(cuts)).astype(np.float32)
    whole, cut = LevelTrack(), LevelTrack()
    whole.process(audio)
    start = 0
    for count in cuts:
        cut.process(audio[start : start + count])
        start += count
    for position in range(160, len(audio), 160):
        assert whole.loudest_dbfs(position) == cut.loudest_dbfs(position)


def test_level_looks_back_one_second_and_not_ahead():
    track = LevelTrack()
    audio = np.zeros(48000, np.float32)
    audio[16000:16160] = 0.1
    track.process(audio)
    assert track.loudest_dbfs(16000) == float("-inf")
    assert track.loudest_dbfs(16160) == pytest.approx(-20.0)
    assert track.loudest_dbfs(32000) == pytest.approx(-20.0)
    assert track.loudest_dbfs(32160) == float("-inf")
