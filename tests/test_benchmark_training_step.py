"""The cost of a training step: every kind is measured on batches of the recipe's size."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from benchmarks import training_step  # noqa: E402
from kwsd.train.fit import FitConfig  # noqa: E402

FEW = FitConfig(positives=1, negatives=1, taught=1)


def test_every_kind_of_step_is_measured() -> None:
    found = training_step.measured(phrases=2, repeats=1, config=FEW)
    assert list(found) == ["words", "words and teacher"]
    assert all(seconds > 0.0 for seconds in found.values())


def test_batches_are_as_large_as_the_recipes() -> None:
    config = FitConfig()
    batch = training_step.random_batch(np.random.default_rng(1), 6, config)
    assert len(batch.features) == 6 * config.positives + config.negatives
    lesson = training_step.random_lesson(np.random.default_rng(1), config)
    asked = ~np.isnan(lesson.answers[..., 0])
    assert len(lesson.features) == config.taught and 0 < asked.mean() < 1


def test_a_wrong_number_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["training_step", "--threads", "0"])
    with pytest.raises(SystemExit):
        training_step.main()
    assert "--threads 0" in capsys.readouterr().err
