"""The training loop: an interrupted run gives the weights of an uninterrupted one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from model_fixture import random_net

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from small_training import SMALL, quiet, small_pools  # noqa: E402

from kwsd.dsp.features import BANDS  # noqa: E402
from kwsd.errors import OutputError  # noqa: E402
from kwsd.evaluate.curve import Curve  # noqa: E402
from kwsd.train import fit as fitting  # noqa: E402
from kwsd.train.augment import Batch, Windows  # noqa: E402
from kwsd.train.fit import FitConfig, fit  # noqa: E402
from kwsd.train.float_scores import (  # noqa: E402
    SMOOTHING_STEPS,
    SOFTNESS,
    operating_logits,
    peaks,
    score_stream,
    smooth,
)
from kwsd.train.layers import STRIDE, FloatNet, forward  # noqa: E402
from kwsd.train.lessons import LessonBatch, LessonWindows  # noqa: E402
from kwsd.train.network import (  # noqa: E402
    Network,
    Shape,
    shape_of,
    start_from,
    to_float_net,
)
from kwsd.train.pools import Pools, save  # noqa: E402
from kwsd.train.pupil import Pupil  # noqa: E402
from kwsd.train.rehearsal import Rehearsal  # noqa: E402
from kwsd.train.reverberation import STRETCH_FRAMES  # noqa: E402
from kwsd.train.ripples import Ripples  # noqa: E402
from kwsd.train.teacher import EVERY_FRAMES, SIZE, Lesson  # noqa: E402

SHORT = FitConfig(steps=12, positives=2, negatives=2, seed=4)


class Interrupted(Exception):
    """Stands for a power cut."""


@pytest.fixture(scope="module")
def pools() -> Pools:
    return small_pools()


def weights(network: Network) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


Train = Callable[..., Network]


def whole_and_resumed(
    train: Train, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """Weights without and with a power cut, and what is said behind it."""
    monkeypatch.setattr(fitting, "CHECKPOINT_STEPS", 4)
    whole = weights(train(checkpoint=folder / "whole.pt", report=quiet))

    def cut_the_power(line: str) -> None:
        if line.startswith("step 10"):
            raise Interrupted

    cut = folder / "cut.pt"
    with pytest.raises(Interrupted):
        train(checkpoint=cut, report=cut_the_power)
    lines: list[str] = []
    resumed = weights(train(checkpoint=cut, report=lines.append))
    return whole, resumed, lines


def test_an_interrupted_run_goes_on_to_the_same_weights(
    pools: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = partial(fit, pools, SHORT, shape=SMALL)
    whole, resumed, lines = whole_and_resumed(train, tmp_path, monkeypatch)
    assert lines[0] == "going on from step 8"
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_a_full_disk_is_said_and_costs_the_last_steps_alone(
    pools: Pools,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_files: Callable[[int], AbstractContextManager[None]],
) -> None:
    monkeypatch.setattr(fitting, "CHECKPOINT_STEPS", 4)
    train = partial(fit, pools, SHORT, shape=SMALL, checkpoint=tmp_path / "a.pt")
    limit = ExitStack()

    def fill_the_disk(line: str) -> None:
        if line.startswith("step 10"):
            limit.enter_context(small_files(1000))

    with limit, pytest.raises(OutputError, match="a.pt cannot be written: File too large.*again"):
        train(report=fill_the_disk)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    lines: list[str] = []
    train(report=lines.append)
    assert lines[0] == "going on from step 8"


def test_pools_that_do_not_fit_leave_nothing(
    pools: Pools, tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    with small_files(10_000), pytest.raises(OutputError, match="cannot be written: File too la"):
        save(pools, tmp_path / "pools-1.npz")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save(pools, tmp_path / "file" / "pools-1.npz")


def lessons() -> list[Lesson]:
    """Speech in which a band's level says what the teacher says."""
    rng = np.random.default_rng(3)
    told = rng.normal(0, 1, (100, SIZE)).astype(np.float16)
    frames = np.repeat(told[:, :BANDS] * 0.5 - 9, EVERY_FRAMES, axis=0)
    return [Lesson(frames.astype(np.float16), told, True)]


def test_an_interrupted_run_with_a_teacher_goes_on_to_the_same_weights(
    pools: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = partial(fit, pools, SHORT, shape=SMALL, lessons=lessons())
    whole, resumed, _ = whole_and_resumed(taught, tmp_path, monkeypatch)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name])
    # It leaves nothing in the network but other weights.
    untaught = weights(fit(pools, SHORT, tmp_path / "alone.pt", quiet, SMALL))
    assert {n: v.shape for n, v in whole.items()} == {n: v.shape for n, v in untaught.items()}
    assert any(not np.array_equal(value, untaught[name]) for name, value in whole.items())


def test_words_alone_are_learnt_in_the_end(
    pools: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []
    loss = Pupil.loss

    def counted(self: Pupil, batch: Batch, lesson: LessonBatch | None):  # type: ignore[no-untyped-def]
        given.append(lesson is not None)
        return loss(self, batch, lesson)

    monkeypatch.setattr(Pupil, "loss", counted)
    fit(pools, SHORT, tmp_path / "c.pt", quiet, SMALL, lessons=lessons())
    taught = int(fitting.TEACHER_SHARE * SHORT.steps)
    assert 0 < taught < SHORT.steps
    assert given == [True] * taught + [False] * (SHORT.steps - taught)


def test_a_pupil_learns_what_the_teacher_says(pools: Pools) -> None:
    torch.manual_seed(0)
    pupil = Pupil(Network(SMALL), 1.0)
    windows = Windows(pools)
    drawn = LessonWindows(lessons(), windows)
    rng = np.random.default_rng(6)
    batch = windows.batch(rng, 2, 2)
    optimizer = torch.optim.AdamW(pupil.parameters(), 1e-2)
    errors = []
    for _ in range(60):
        with_lesson = pupil.loss(batch, drawn.batch(rng, 8))
        optimizer.zero_grad()
        with_lesson.backward()
        optimizer.step()
        errors.append(with_lesson.item())
    assert np.mean(errors[-10:]) < 0.9 * np.mean(errors[:10])


def test_a_complete_training_is_not_done_again(pools: Pools, tmp_path: Path) -> None:
    first = weights(fit(pools, SHORT, tmp_path / "c.pt", quiet, SMALL))
    lines: list[str] = []
    again = weights(fit(pools, SHORT, tmp_path / "c.pt", lines.append, SMALL))
    assert not lines
    for name, value in first.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_a_checkpoint_of_another_configuration_is_not_used(
    pools: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "CHECKPOINT_STEPS", 2)
    few = FitConfig(steps=4, positives=2, negatives=2, seed=1)
    fit(pools, few, tmp_path / "c.pt", quiet, SMALL)
    lines: list[str] = []
    other = FitConfig(steps=4, positives=2, negatives=2, seed=2)
    fit(pools, other, tmp_path / "c.pt", lines.append, SMALL)
    assert not [line for line in lines if "going on" in line]
    assert [line for line in lines if "c.pt is of another training" in line]


def trained(filters: tuple[tuple[int, int, int], ...] = ((6, 6, 2),)) -> FloatNet:
    """Stands for the layers of a package."""
    return random_net(5, filters=filters)


@pytest.mark.parametrize("filters", [(), ((6, 6, 2),), ((4, 6, 2), (6, 4, 2))])
def test_layers_to_begin_with_compute_what_they_did(
    filters: tuple[tuple[int, int, int], ...],
) -> None:
    net = trained(filters)
    features = torch.rand(6, BANDS, 80, generator=torch.Generator().manual_seed(2))
    network = Network(shape_of(net), 3)
    head = network.head.weight.detach().clone()
    start_from(network, net, features)
    np.testing.assert_array_equal(network.head.weight.detach().numpy(), head.numpy())
    deep = f"x{len(net.blocks)}"
    for row in features.numpy():
        expected = forward(net, np.ascontiguousarray(row.T))[deep]
        with torch.no_grad():
            heard = network.trunk(torch.from_numpy(row[None]))[0].numpy()
        np.testing.assert_allclose(heard, expected, rtol=1e-3, atol=1e-4)
        folded = forward(to_float_net(network, 1), np.ascontiguousarray(row.T))[deep]
        np.testing.assert_allclose(folded, expected, rtol=1e-3, atol=1e-4)
    # The statistics are those of the windows: a step of training computes the same at first.
    with torch.no_grad():
        still, moving = network.trunk(features), network.train().trunk(features)
    np.testing.assert_allclose(moving.numpy(), still.numpy(), rtol=1e-3, atol=1e-3)


def test_a_filter_without_weights_stays_finite() -> None:
    net = trained()
    net.blocks[0].pointwise[2] = 0.0
    network = Network(shape_of(net))
    start_from(network, net, torch.rand(2, BANDS, 60))
    assert all(np.isfinite(value).all() for value in weights(network).values())


def test_a_training_begins_where_it_is_told_to(pools: Pools, tmp_path: Path) -> None:
    # One step at a hundredth of the rate: all but the last layer are still there.
    once = replace(SHORT, steps=1)
    network = fit(pools, once, tmp_path / "a.pt", quiet, start=trained())
    features = np.random.default_rng(3).normal(0, 1, (60, BANDS)).astype(np.float32)
    expected = forward(trained(), features)["x2"]
    heard = forward(to_float_net(network), features)["x2"]
    assert np.corrcoef(expected.ravel(), heard.ravel())[0, 1] > 0.99
    elsewhere = forward(to_float_net(fit(pools, once, tmp_path / "b.pt", quiet, SMALL)), features)
    assert abs(np.corrcoef(expected.ravel(), elsewhere["x2"].ravel())[0, 1]) < 0.7


def test_an_interrupted_run_with_a_start_goes_on_and_only_with_that_start(
    pools: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = partial(fit, pools, SHORT, start=trained())
    whole, resumed, lines = whole_and_resumed(started, tmp_path, monkeypatch)
    assert lines[0] == "going on from step 8"
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    lines.clear()
    fit(pools, SHORT, tmp_path / "cut.pt", lines.append, start=random_net(6))
    assert not [line for line in lines if "going on" in line]


def test_the_shipped_network_has_20_to_60_thousand_parameters() -> None:
    assert 20_000 <= to_float_net(Network(Shape())).parameters <= 60_000


def test_the_network_does_not_look_ahead() -> None:
    torch.manual_seed(0)
    network = Network(SMALL).eval()
    features = torch.randn(1, BANDS, 60)
    changed = features.clone()
    changed[..., 40:] += 1.0
    with torch.no_grad():
        before, after = network(features), network(changed)
    np.testing.assert_array_equal(before[:, :20].numpy(), after[:, :20].numpy())
    assert not np.array_equal(before[:, 20:].numpy(), after[:, 20:].numpy())


def test_a_stream_is_scored_alike_however_it_is_cut() -> None:
    torch.manual_seed(0)
    network = Network(SMALL).eval()
    stream = np.random.default_rng(2).normal(-9, 1, (1200, BANDS)).astype(np.float16)
    whole = score_stream(network, stream, chunk=1200, context=0)
    pieces = score_stream(network, stream, chunk=300, context=400)
    assert len(whole) == len(pieces) == 600
    # Cuts start the level follower anew: alike, not equal.
    np.testing.assert_allclose(whole[100:], pieces[100:], atol=0.02)


def test_peaks_are_the_highest_and_apart() -> None:
    scores = np.zeros(1000, np.float32)
    scores[[100, 130, 500]] = [0.9, 0.8, 0.5]
    found = peaks(scores)
    assert [step for _, step in found] == [100, 500]
    np.testing.assert_allclose([score for score, _ in found], [0.9, 0.5])


def test_smoothing_looks_back_only() -> None:
    scores = np.zeros(10, np.float32)
    scores[5] = 1.0
    spread = [1.0 / SMOOTHING_STEPS] * SMOOTHING_STEPS
    np.testing.assert_allclose(smooth(scores), ([0] * 5 + spread + [0] * 5)[:10])


def test_phrases_are_trained_together_and_part_into_networks_of_their_own(
    pools: Pools, tmp_path: Path
) -> None:
    both = Pools([*pools.words, *(replace(w, phrase=1) for w in pools.words)], pools.negatives)
    network = fit(both, SHORT, tmp_path / "two.pt", quiet, SMALL, phrases=2)
    features = np.random.default_rng(3).normal(0, 1, (60, BANDS)).astype(np.float32)
    with torch.no_grad():
        logits = network(torch.from_numpy(features.T[None].copy()))[0].numpy()
    assert logits.shape == (30, 2)
    for phrase in (0, 1):
        alone = forward(to_float_net(network, phrase), features)["logit"]
        np.testing.assert_allclose(alone[:, 0], logits[:, phrase], atol=1e-4)
    stream = both.negatives["speech"]
    assert score_stream(network, stream).shape == (len(stream) // 2, 2)


def test_windows_drawn_in_another_process_are_the_same(pools: Pools, tmp_path: Path) -> None:
    alone = weights(fit(pools, SHORT, tmp_path / "a.pt", quiet, SMALL))
    beside = weights(fit(pools, replace(SHORT, loaders=1), tmp_path / "b.pt", quiet, SMALL))
    for name, value in alone.items():
        np.testing.assert_array_equal(beside[name], value, err_msg=name)


def test_what_says_another_phrase_counts_against_a_phrase() -> None:
    words = np.zeros((40, BANDS), np.float16)
    bounds = np.array([[0, 20], [20, 40]])
    negatives = np.zeros((36_000, BANDS), np.float16)
    rehearsal = Rehearsal(words, bounds, np.array([0, 1]), negatives, 0.1)

    def smoothed(frames: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(frames) // 2, 3), np.float32)
        if len(frames) == 40:
            scores[5, :2], scores[15, :2] = (0.9, 0.8), (0.3, 0.7)
        return scores

    curves = rehearsal.curves(smoothed, lambda scores: [float(scores.max())])
    # The third phrase has no recordings to be judged by.
    assert set(curves) == {0, 1}
    first, second = curves[0], curves[1]
    assert (first.at(0.5).misses, first.at(0.5).false_accepts) == (0, 0)
    # The recording of the first phrase is a false accept of the second.
    assert (second.at(0.5).misses, second.at(0.5).false_accepts) == (0, 1)


def test_room_tone_is_not_mined(pools: Pools) -> None:
    tone = np.concatenate([pools.negatives["speech"], pools.negatives["noise"]])
    network = Network(SMALL).eval()
    toned = Pools(pools.words, {**pools.negatives, "tone": tone})
    ripples = Ripples(STRETCH_FRAMES * BANDS)
    found = fitting.find_hard_places(network, toned, np.random.default_rng(0), ripples)
    assert {place.kind for place in found} == {"speech", "noise"}


def test_what_only_a_room_brings_out_is_mined(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = np.full((3000, BANDS), -18, np.float16)
    clicks[1500] = 0.0

    def fading(network: object, stream: np.ndarray) -> np.ndarray:
        levels = stream.astype(np.float32).mean(axis=1)[::STRIDE, None]
        return ((levels > -12) & (levels < -6)).astype(np.float32)

    monkeypatch.setattr(fitting, "score_stream", fading)
    ripples = Ripples(STRETCH_FRAMES * BANDS)
    only = Pools(pools.words, {"speech": clicks})
    found = fitting.find_hard_places(Network(SMALL), only, np.random.default_rng(0), ripples)
    assert found and all(place.roomy and 1500 < place.frame < 1600 for place in found)


def test_operating_logits_are_those_of_the_network() -> None:
    softened = 1.0 / (1.0 + np.exp(-np.array([8.0, 10.0, 12.0]) / SOFTNESS))
    wrong = 1.0 / (1.0 + np.exp(-np.array([4.0, 3.0]) / SOFTNESS))
    low, high = operating_logits(Curve(softened, wrong, 1.0))
    assert 3.0 <= low <= 4.1
    assert high == pytest.approx(10.0, abs=0.01)
