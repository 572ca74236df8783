"""Streaming int8 inference: against the float network, in pieces of any size, when a step fails."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fixture import calibration_signals, random_net, tone_bursts, write_random_package
from model_fixture import write_tone_package as write_tone

from kwsd.dsp.features import features
from kwsd.errors import AudioError
from kwsd.model.package import TensorSpec, load_package
from kwsd.model.stream import StreamingModel, quantise
from kwsd.runtime.select import open_session
from kwsd.train.layers import forward


def opened(folder):
    package = load_package(folder)
    return package, open_session(package)[0]


@pytest.fixture(scope="module")
def random_model(tmp_path_factory):
    return opened(write_random_package(tmp_path_factory.mktemp("models") / "random"))


@pytest.fixture(scope="module")
def tone(tmp_path_factory):
    return opened(write_tone(tmp_path_factory.mktemp("models") / "tone"))


@pytest.fixture(scope="module")
def heard():
    return features(tone_bursts(seed=20))


def values(model, frames):
    return np.array([s.value for s in StreamingModel(*model).process(frames, 400)])


def test_agrees_with_the_float_network(random_model):
    net = random_net()
    for frames in calibration_signals():
        expected = 1.0 / (1.0 + np.exp(-forward(net, frames)["logit"][:, 0]))
        difference = np.abs(values(random_model, frames) - expected)
        assert difference.mean() < 0.01
        assert difference.max() < 0.08


def test_wakes_on_its_tone_only(tone):
    hits = values(tone, features(tone_bursts(seed=30))) > 0.7
    times_s = (2 * np.flatnonzero(hits) + 4.5) / 100
    assert all(np.any((times_s > t) & (times_s < t + 0.3)) for t in (1.0, 3.0))
    assert all(np.min(np.abs(t - np.array([1.15, 3.15]))) < 0.2 for t in times_s)
    for tone_hz in (300.0, 2500.0):
        assert values(tone, features(tone_bursts(tone_hz=tone_hz, seed=31))).max() < 0.3


def test_one_score_a_step_with_its_time(random_model, heard):
    scores = StreamingModel(*random_model).process(heard[:7], 400 + 6 * 160)
    assert [s.end_sample for s in scores] == [560, 880, 1200]
    assert all(0.0 <= s.value <= 1.0 for s in scores)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=8))
def test_cutting_changes_nothing(random_model, heard, cuts):
    frames, model = heard[:60], StreamingModel(*random_model)
    scores, last = [], 0
    for cut in [*sorted(cuts), 60]:
        scores += model.process(frames[last:cut], 240 + 160 * cut)
        last = cut
    assert scores == StreamingModel(*random_model).process(frames, 240 + 160 * 60)


def test_reset_and_two_streams_on_one_session(random_model, heard):
    one, two = StreamingModel(*random_model), StreamingModel(*random_model)
    first = one.process(heard[:51], 0)
    two.process(heard[50:91], 0)
    one.reset()
    assert one.process(heard[:51], 0) == first


def test_a_failed_step_can_be_repeated(random_model, heard):
    package, session = random_model

    class Failing:
        fail = False
        inputs, outputs = session.inputs, session.outputs

        def step(self, inputs):
            outputs = session.step(inputs)
            if self.fail:
                raise RuntimeError("device lost")
            return outputs

        def close(self):
            pass

    failing = Failing()
    model = StreamingModel(package, failing)
    scores = model.process(heard[:20], 0)
    failing.fail = True
    with pytest.raises(RuntimeError):
        model.process(heard[20:22], 0)
    failing.fail = False
    scores += model.process(heard[20:40], 0)
    expected = StreamingModel(*random_model).process(heard[:40], 0)
    assert [s.value for s in scores] == [s.value for s in expected]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(random_model, heard, bad):
    model = StreamingModel(*random_model)
    model.process(heard[:10], 0)
    damaged = heard[10:20].copy()
    damaged[3, 7] = bad
    with pytest.raises(AudioError, match="sample 99 are not finite"):
        model.process(damaged, 99)
    again = model.process(heard[10:20], 0)
    expected = StreamingModel(*random_model).process(heard[:20], 0)[5:]
    assert [s.value for s in again] == [s.value for s in expected]


def test_quantise_rounds_half_to_even_and_saturates():
    spec = TensorSpec("x", (6,), "int8", 0.5, 3)
    stored = quantise(np.array([0.25, 0.75, -0.25, 0.0, 1e9, -1e9], np.float32), spec)
    assert stored.dtype == np.int8
    assert stored.tolist() == [3, 5, 3, 3, 127, -128]
