"""A network file read back into the layers that it was written from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_fixture import calibration_signals, random_net

from kwsd.errors import MissingFileError, ModelError
from kwsd.model.find import SHIPPED
from kwsd.runtime.litert import LiteRtSession
from kwsd.train.layers import FloatNet, forward, net_digest
from kwsd.train.quantise import calibrate
from kwsd.train.tflite_reader import read_net
from kwsd.train.tflite_writer import write_tflite
from kwsd.train.vectors import _run, state_pairs


def written(net: FloatNet, place: Path, precision: str = "int8") -> Path:
    place.write_bytes(write_tflite(net, calibrate(net, calibration_signals()), precision))
    return place


@pytest.mark.parametrize("precision", ["int8", "mixed"])
@pytest.mark.parametrize("filters", [(), ((6, 6, 2),), ((4, 6, 2), (6, 4, 2))])
def test_what_is_read_is_what_was_written(
    filters: tuple[tuple[int, int, int], ...], precision: str, tmp_path: Path
) -> None:
    net = random_net(3, filters=filters)
    again = read_net(written(net, tmp_path / "model.tflite", precision))
    assert [layer.stride for layer in again.stem] == [layer.stride for layer in net.stem]
    assert [block.dilation for block in again.blocks] == [1, 2]
    pairs = [(net.head, again.head), (net.head_bias, again.head_bias)]
    for old, new in zip((*net.stem, *net.blocks), (*again.stem, *again.blocks), strict=True):
        pairs += [(getattr(old, name), getattr(new, name)) for name in vars(old)]
    for was, now in pairs:
        assert np.shape(was) == np.shape(now)
        # Half a step of an int8 weight.
        np.testing.assert_allclose(now, was, atol=0.004 * np.abs(was).max() + 1e-6)


def test_a_shipped_network_hears_the_same_when_it_is_read() -> None:
    net = read_net(SHIPPED / "jarvis" / "model.tflite")
    assert net.parameters == 54_297
    features = calibration_signals()[0]
    score = 1.0 / (1.0 + np.exp(-forward(net, features)["logit"]))
    assert 0.0 <= score.min() <= score.max() < 0.5  # a tone is not the word
    # What the runtime remembers in front of the last block is what the layers compute there.
    session = LiteRtSession(SHIPPED.joinpath("jarvis", "model.tflite").read_bytes(), "jarvis")
    spec = next(t for t in session.outputs if t.name == "s5_out")
    *_, last = _run(session, state_pairs(session.inputs), features)
    heard = (last["s5_out"][0, :, 0].astype(np.float32) - spec.zero_point) * spec.scale
    expected = forward(net, features)["x4"][-len(heard) :]
    assert np.corrcoef(heard.ravel(), expected.ravel())[0, 1] > 0.98


def test_a_digest_tells_networks_apart() -> None:
    assert net_digest(random_net(1)) == net_digest(random_net(1)) != net_digest(random_net(2))


def test_what_is_no_network_of_ours_is_refused(tmp_path: Path) -> None:
    from kwsd.train.tflite_builder import GraphBuilder

    with pytest.raises(MissingFileError, match="cannot be read: No such file"):
        read_net(tmp_path / "none.tflite")
    (tmp_path / "text.tflite").write_text("this is no network")
    with pytest.raises(ModelError, match="is no TFLite network"):
        read_net(tmp_path / "text.tflite")
    (tmp_path / "empty.tflite").write_bytes(GraphBuilder().finish([], [], {}))
    with pytest.raises(ModelError, match="name a package that kwsmodel train made"):
        read_net(tmp_path / "empty.tflite")
