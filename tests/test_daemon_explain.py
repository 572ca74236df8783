"""What ``kwsctl explain`` is told: the newest near misses, whosever they are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from service_bench import ServiceBench

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.ctl.explain import as_text
from kwsd.daemon.commands import EXPLAINED_AT_MOST, commands_of
from kwsd.decision import Decision, DecisionConfig, NearMiss
from kwsd.errors import UsageError
from kwsd.event import ModelIdentity


def model(keyword: str, *times_s: float) -> SimpleNamespace:
    """A model that nearly woke at some times."""
    decision = Decision(DecisionConfig(0.6, 0.4, 1.5, 4, -70.0, 0.3, 1600, 8000))
    decision.near_misses.extend(
        NearMiss(round(at_s * SAMPLE_RATE_HZ), 0.5, 0.6, "below threshold", ((0, 0.5),))
        for at_s in times_s
    )
    return SimpleNamespace(identity=ModelIdentity(keyword, keyword, "1", "fake"), decision=decision)


def explained(**request: object) -> list[tuple[str, float]]:
    """Which near misses are told, of two models that missed in turn."""
    models = [model("computer", 1.0, 4.0), model("jarvis", 2.0, 3.0)]
    service: Any = SimpleNamespace(now=SimpleNamespace(models=models))
    answer: Any = commands_of(service)["explain"](request)
    return [(entry["keyword"], entry["at_s"]) for entry in answer["near_misses"]]


def test_the_newest_is_told() -> None:
    assert explained() == [("computer", 4.0)]
    assert explained(count=2) == [("jarvis", 3.0), ("computer", 4.0)]


def test_all_of_them_come_in_order_of_time() -> None:
    assert [at_s for _, at_s in explained(count=EXPLAINED_AT_MOST)] == [1.0, 2.0, 3.0, 4.0]


def test_a_keyword_is_told_of_alone() -> None:
    assert explained(count=2, keyword="jarvis") == [("jarvis", 2.0), ("jarvis", 3.0)]
    with pytest.raises(UsageError, match="'alexa' is not loaded"):
        explained(keyword="alexa")


@pytest.mark.parametrize("count", [0, -1, EXPLAINED_AT_MOST + 1, True, "1"])
def test_a_count_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(UsageError, match="must be 1 to 10"):
        explained(count=count)


def test_a_reload_begins_anew_and_the_text_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path)
    told: list[str] = []

    def look() -> None:
        told.append(as_text(bench.ask("explain")["near_misses"]))

    def miss() -> None:
        missed = model("computer", 0.5).decision.near_misses
        bench.service.now.models[0].decision.near_misses.extend(missed)

    bench.at(0.5, miss)
    bench.at(0.5, look)
    bench.at(0.5, lambda: bench.ask("reload"))
    bench.at(0.5, look)
    bench.run(1.0, monkeypatch)
    assert told[0].startswith("computer at 0.5 s: ")
    assert told[1].endswith("since the last start or reload\n")
