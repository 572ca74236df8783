"""Ranking: words are compared with the loudest windows that do not hold them, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from small_training import SMALL, small_pools  # noqa: E402

from kwsd.train import pupil as module  # noqa: E402
from kwsd.train.augment import Windows  # noqa: E402
from kwsd.train.network import Network  # noqa: E402
from kwsd.train.pupil import Pupil  # noqa: E402
from kwsd.train.ranking import LOUDEST, MARGIN, RANK_SOFTNESS, SOON_STEPS, ranking_loss  # noqa: E402

STEPS = 12


def windows(words: list[float], others: list[float]) -> tuple[Any, Any]:
    """Logits and labels of one phrase: each window is this loud at one step and silent else."""
    logits = torch.full((len(words) + len(others), STEPS, 1), -20.0)
    label = torch.zeros_like(logits)
    logits[:, 3, 0] = torch.tensor(words + others)
    label[: len(words), 2:10] = 1.0
    return logits.requires_grad_(), label


def expected(words: list[float], others: list[float]) -> float:
    apart = np.subtract.outer(others, words) + MARGIN
    return float(np.log1p(np.exp(apart / RANK_SOFTNESS)).mean())


def test_every_word_is_compared_with_every_loud_window() -> None:
    words, others = [3.0, -1.0], [0.0, 2.5, -4.0]
    loss = ranking_loss(*windows(words, others))
    assert loss.item() == pytest.approx(expected(words, others), rel=1e-5)


def test_a_threshold_that_moves_changes_nothing() -> None:
    logits, label = windows([1.0, 2.0], [0.5, 1.5])
    moved = ranking_loss(logits + 7.0, label)
    assert moved.item() == pytest.approx(ranking_loss(logits, label).item(), rel=1e-5)


def test_only_the_loudest_windows_are_asked_for() -> None:
    others = [float(-number) for number in range(LOUDEST + 5)]
    logits, label = windows([2.0], others)
    loss = ranking_loss(logits, label)
    assert loss.item() == pytest.approx(expected([2.0], others[:LOUDEST]), rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    learns = logits.grad[:, 3, 0].numpy()
    assert learns[0] < 0  # the word grows
    assert (learns[1 : 1 + LOUDEST] > 0).all()
    assert not learns[1 + LOUDEST :].any()
    logits.grad[:, 3] = 0.0
    assert not logits.grad.any()  # nor any other step


def test_what_is_loud_beside_the_word_is_no_word() -> None:
    logits, label = windows([1.0], [0.0])
    with torch.no_grad():
        logits[0, 0, 0] = 50.0
    assert ranking_loss(logits, label).item() == pytest.approx(expected([1.0], [0.0]), rel=1e-5)


def test_a_word_has_to_be_loud_soon() -> None:
    logits, label = windows([1.0], [0.0])
    with torch.no_grad():
        logits[0, 2 + SOON_STEPS :, 0] = 50.0
    assert ranking_loss(logits, label).item() == pytest.approx(expected([1.0], [0.0]), rel=1e-5)
    with torch.no_grad():
        logits[0, 1 + SOON_STEPS, 0] = 3.0
    assert ranking_loss(logits, label).item() == pytest.approx(expected([3.0], [0.0]), rel=1e-5)


def test_phrases_count_alike_and_are_not_compared_with_each_other() -> None:
    logits, label = windows([1.0, 2.0, 0.0], [0.5])
    both = torch.cat([logits, logits.flip(0)], -1)
    said = torch.cat([label, label.flip(0)], -1)
    one = ranking_loss(logits, label).item()
    assert ranking_loss(both, said).item() == pytest.approx(one, rel=1e-5)
    louder = torch.cat([logits, logits.flip(0) - 30.0], -1)
    assert ranking_loss(louder, said).item() == pytest.approx(one, rel=1e-5)


def test_a_phrase_that_all_or_no_windows_hold_has_no_say() -> None:
    logits, label = windows([1.0], [0.0])
    for said in (torch.zeros_like(label), torch.ones_like(label)):
        assert ranking_loss(logits, said).item() == 0.0
        beside = ranking_loss(torch.cat([logits, logits], -1), torch.cat([label, said], -1))
        assert beside.item() == pytest.approx(ranking_loss(logits, label).item(), rel=1e-5)


def test_a_pupil_is_told_the_rank_beside_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    pupil = Pupil(Network(SMALL), 1.0).eval()
    batch = Windows(small_pools()).batch(np.random.default_rng(2), 3, 4)
    with torch.no_grad():
        logits = pupil.network(torch.as_tensor(batch.features))
        rank = ranking_loss(logits, torch.as_tensor(batch.label)).item()
        both = pupil.loss(batch, None).item()
        monkeypatch.setattr(module, "RANKING_WEIGHT", 0.0)
        labels = pupil.loss(batch, None).item()
    assert rank > 0.1
    assert both - labels == pytest.approx(0.1 * rank, rel=1e-4)
