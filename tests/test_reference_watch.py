"""Reference watch: what counts as the device's own voice follows the sensitivity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from service_bench import ServiceBench

from kwsd.block import FloatArray
from kwsd.model.stream import Score
from kwsd.reference_watch import ReferenceWatch

FRAMES = np.zeros((2, 40), np.float32)


class Constant:
    """A model that is as sure of anything."""

    def __init__(self, value: float) -> None:
        self._value = value

    def reset(self) -> None:
        pass

    def process(self, frames: FloatArray, end_sample: int) -> list[Score]:
        return [Score(end_sample, self._value)]


def test_another_threshold_counts_from_the_next_step_on() -> None:
    watch = ReferenceWatch(Constant(0.5), 0.6, 1)
    watch.process(FRAMES, 16_000, True)
    assert not watch.said_before(16_000)
    watch.threshold = 0.4
    assert not watch.said_before(16_000)
    watch.process(FRAMES, 16_320, True)
    assert watch.said_before(16_320)


def test_a_sensitivity_set_in_the_running_service_counts_for_the_reference_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path, "wake.rearm_fraction = 0.5")
    seen: list[tuple[float, float]] = []

    def look() -> None:
        (model,) = bench.service.now.models
        assert model.reference_watch is not None
        seen.append((model.decision.config.threshold, model.reference_watch.threshold))

    def choose(sensitivity: str) -> None:
        bench.ask("sensitivity", keyword="computer", sensitivity=sensitivity)
        look()

    bench.at(0.5, look)
    bench.at(1.0, lambda: choose("high"))
    bench.at(1.0, lambda: choose("low"))
    # The models of a reload begin with the configuration, and what was set wins over it.
    bench.at(1.5, lambda: bench.ask("reload"))
    bench.at(1.5, look)
    bench.run(2.0, monkeypatch)
    medium, high, low, reloaded = (threshold for threshold, _ in seen)
    assert high < medium < low == reloaded
    for threshold, of_reference in seen:
        assert of_reference == pytest.approx(0.5 * threshold)
