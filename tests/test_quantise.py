"""Quantisation and the network file: ranges, weights, operators, bytes."""

import json
from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st
from model_fixture import calibration_signals, random_net

from kwsd.runtime.litert import LiteRtSession
from kwsd.train.layers import STRIDE, centred, forward, load_net, save_net
from kwsd.train.quantise import Affine, affine, calibrate, quantise_weights
from kwsd.train.tflite_writer import write_tflite
from kwsd.train.vectors import _run, record, state_pairs

VERSIONS = {
    "CONCATENATION": 2,
    "STRIDED_SLICE": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "ADD": 2,
    "RESHAPE": 1,
    "FULLY_CONNECTED": 4,
    "LOGISTIC": 2,
}


@pytest.fixture(scope="module")
def signals():
    return calibration_signals()


@pytest.fixture(scope="module")
def network(signals):
    return write_tflite(random_net(), calibrate(random_net(), signals))


def test_float_network_is_causal(signals):
    net, whole = random_net(), forward(random_net(), signals[0])
    part = forward(net, signals[0][:101])
    for name, values in part.items():
        assert len(values) == (100 if name == "features" else 100 // STRIDE)
        np.testing.assert_allclose(values, whole[name][: len(values)], atol=1e-5)


def test_a_kept_float_network_computes_the_same(tmp_path, signals):
    save_net(random_net(), tmp_path / "float.npz")
    again = forward(load_net(tmp_path / "float.npz"), signals[0])
    for name, values in forward(random_net(), signals[0]).items():
        np.testing.assert_array_equal(again[name], values)


def test_a_sure_network_is_moved_to_where_int8_has_steps(signals):
    net = random_net()
    logits = forward(net, signals[0])["logit"]
    low, high = float(np.percentile(logits, 60)), float(np.percentile(logits, 99)) + 1.0
    moved = forward(centred(net, low, high), signals[0])["logit"]
    order = np.argsort(logits[:, 0], kind="stable")
    assert np.all(np.diff(moved[order, 0]) >= -1e-4)
    score = 1.0 / (1.0 + np.exp(-np.interp([low, high], logits[order, 0], moved[order, 0])))
    assert score[0] == pytest.approx(0.5, abs=0.02)
    # Logits as sure as these would all be stored as 255/256.
    sure = replace(net, head=net.head * 8, head_bias=net.head_bias * 8 + 6)
    heard = forward(sure, signals[0])["logit"]
    before = affine(0.0, 1.0).quantise(1.0 / (1.0 + np.exp(-heard)))
    tamed = centred(sure, float(np.percentile(heard, 60)), float(heard.max()))
    after = 1.0 / (1.0 + np.exp(-forward(tamed, signals[0])["logit"]))
    assert len(np.unique(before)) < len(np.unique(affine(0.0, 1.0).quantise(after)))


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_affine_holds_zero_and_the_range(a, b):
    low, high = min(a, b), max(a, b)
    mapped = affine(low, high)
    assert -128 <= mapped.zero_point <= 127
    assert mapped.quantise(np.zeros(1, np.float32))[0] == mapped.zero_point
    for edge in (low, high):
        stored = int(mapped.quantise(np.array([edge], np.float32))[0])
        real = mapped.scale * (stored - mapped.zero_point)
        assert abs(real - edge) <= 1.01 * mapped.scale


def test_percentile_clips_outliers():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((4000, 40)).astype(np.float32)
    signal[100, 5] = 1000.0
    net = random_net()
    assert calibrate(net, [signal], percentile=100.0)["features"].scale > 3.9
    assert calibrate(net, [signal], percentile=99.9)["features"].scale < 0.05


def test_steps_are_kept_for_what_may_be_the_word(signals):
    net = random_net()
    unsure = replace(net, head_bias=net.head_bias - 40.0)
    logit = calibrate(unsure, signals)["logit"]
    assert logit.scale * (-128 - logit.zero_point) == pytest.approx(-6.0, abs=0.05)


def test_the_probability_has_the_steps_that_logistic_gives(network):
    session = LiteRtSession(network, "network")
    spec = next(t for t in session.outputs if t.name == "prob")
    assert (spec.scale, spec.zero_point) == (1 / 256, -128)
    session.close()


@pytest.mark.parametrize("size", [{"stem_frames": 2}, {"kernels": (5, 1)}])
def test_a_layer_without_memory_is_refused(signals, size):
    net = random_net(**size)
    with pytest.raises(ValueError, match="longer kernel"):
        write_tflite(net, calibrate(net, signals))


def test_calibration_needs_finite_weights(signals):
    net = random_net()
    net.blocks[0].depthwise_bias[2] = np.nan
    with pytest.raises(ValueError, match="dw0 is not finite"):
        calibrate(net, signals)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_calibration_needs_finite_signals(signals, value):
    damaged = signals[0].copy()
    damaged[5, 5] = value
    with pytest.raises(ValueError, match="not finite"):
        calibrate(random_net(), [damaged])
    with pytest.raises(ValueError, match="at least one signal"):
        calibrate(random_net(), [signals[0][:1]])


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights(per_channel):
    rng = np.random.default_rng(1)
    weights = (rng.standard_normal((6, 9)) * np.logspace(-3, 0, 6)[:, None]).astype(np.float32)
    bias = rng.standard_normal(6).astype(np.float32)
    stored = quantise_weights(weights, bias, Affine(0.02, 5), axis=0, per_channel=per_channel)
    assert len(stored.scale) == (6 if per_channel else 1)
    assert np.abs(stored.values).max() <= 127
    scale = stored.scale[:, None]
    assert np.all(np.abs(stored.values * scale - weights) <= 0.501 * scale)
    np.testing.assert_allclose(stored.bias * stored.bias_scale, bias, atol=0.001)


def test_a_dead_channel_keeps_its_bias():
    weights = np.zeros((2, 4), np.float32)
    weights[1] = 1.0
    stored = quantise_weights(weights, np.array([0.5, 0.1], np.float32), Affine(0.02, 0), axis=0)
    np.testing.assert_allclose(stored.bias * stored.bias_scale, [0.5, 0.1], rtol=1e-3)
    assert stored.values[0].tolist() == [0, 0, 0, 0]
    assert stored.values[1].tolist() == [127, 127, 127, 127]


def test_same_network_same_bytes(network, signals):
    assert write_tflite(random_net(), calibrate(random_net(), signals)) == network


def test_zero_points_are_stored_once(signals):
    net = random_net(channels=64)
    network = write_tflite(net, calibrate(net, signals))
    plain = flatbuffers.Builder(1 << 16)
    plain.Finish(schema.ModelT.InitFromPackedBuf(network, 0).Pack(plain), b"TFL3")
    # Weights and bias of the stem's last layer and of four in the blocks: 64 times eight bytes.
    assert len(plain.Output()) - len(network) >= 9 * 64 * 8


def test_operators_are_those_that_the_compiler_reads(network):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(network, 0))
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    assert {names[c.builtinCode]: c.version for c in model.operatorCodes} == VERSIONS
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        # Static shapes, int8 everywhere but in biases and constants.
        assert all(n > 0 for n in tensor.shape)
        kind = schema.TensorType.INT8 if not tensor.name.startswith(b"const/") else None
        if tensor.name.endswith(b"/bias") or kind is None:
            kind = schema.TensorType.INT32
        assert tensor.type == kind, tensor.name
    note = next(m for m in model.metadata if m.name == b"kwsd")
    states = json.loads(bytes(model.buffers[note.buffer].data))["states"]
    assert [s["name"] for s in states] == ["s0", "s1", "s2"]
    assert model.signatureDefs[0].signatureKey == b"serving_default"
    assert len(model.signatureDefs[0].inputs) == len(graph.inputs) == 4


def test_states_go_round_unchanged(network):
    session = LiteRtSession(network, "network")
    outputs = {t.name: t for t in session.outputs}
    for spec in session.inputs:
        if spec.name != "features":
            other = outputs[spec.name.removesuffix("_in") + "_out"]
            assert (spec.shape, spec.dtype) == (other.shape, other.dtype)
            assert (spec.scale, spec.zero_point) == (other.scale, other.zero_point)
    session.close()


@pytest.mark.parametrize("precision", ["int8", "mixed"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_written_network_scores_as_the_float_one(signals, seed, precision):
    net = random_net(seed)
    ranges = calibrate(net, signals, percentile=100.0)
    session = LiteRtSession(write_tflite(net, ranges, precision), "network")
    spec = next(t for t in session.outputs if t.name == "prob")
    for signal in signals:
        steps = _run(session, state_pairs(session.inputs), signal)
        stored = np.array([step["prob"].item() for step in steps])
        expected = 1.0 / (1.0 + np.exp(-forward(net, signal)["logit"][:, 0]))
        wrong = np.abs((stored - spec.zero_point) * spec.scale - expected)
        assert wrong.mean() < 0.004 and wrong.max() < 0.015
    session.close()


@pytest.mark.parametrize(
    "size",
    [
        {"channels": 4, "kernels": (), "dilations": ()},
        {"channels": 16, "kernels": (3, 3), "dilations": (1, 4), "stem_frames": 4},
        {"channels": 64, "kernels": (5, 9, 9, 13, 13), "dilations": (1, 1, 1, 1, 2)},
    ],
)
def test_other_sizes(size, signals):
    net = random_net(3, **size)
    recording = record(write_tflite(net, calibrate(net, signals)), signals[1], steps=20)
    assert len(recording.states) == len(size["kernels"]) + 1
    assert recording.vectors["prob"].shape == (20, 1, 1)


def test_recording_keeps_the_highest_score(network, signals):
    every = record(network, signals[0], steps=len(signals[0]) // STRIDE).vectors
    some = record(network, signals[0], steps=5).vectors
    assert some["prob"].max() == every["prob"].max()
    np.testing.assert_array_equal(every["s1_in"][1:], every["s1_out"][:-1])
    with pytest.raises(ValueError, match="give more features"):
        record(network, signals[0][:6], steps=5)


def test_mixed_precision_gives_a_finer_probability(signals):
    net = random_net()
    ranges = calibrate(net, signals)
    said = {}
    for precision in ("int8", "mixed"):
        session = LiteRtSession(write_tflite(net, ranges, precision), precision)
        spec = next(t for t in session.outputs if t.name == "prob")
        steps = _run(session, state_pairs(session.inputs), signals[0])
        stored = np.array([step["prob"].item() for step in steps])
        said[precision] = (stored - spec.zero_point) * spec.scale
        assert all(t.dtype == "int8" for t in session.outputs if t.name != "prob")
    assert spec.dtype == "int16" and spec.scale == pytest.approx(1 / 32768)
    # The same network: what differs is the last layer's rounding, and how many values it can take.
    np.testing.assert_allclose(said["mixed"], said["int8"], atol=0.02)
    assert len(np.unique(said["mixed"])) > 2 * len(np.unique(said["int8"]))


def test_an_unknown_precision_is_refused(signals):
    with pytest.raises(ValueError, match="int8 or mixed"):
        write_tflite(random_net(), calibrate(random_net(), signals), "int4")
