"""`docs/service.md` names every command, answer and metric of the service, and nothing else."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from service_bench import ServiceBench

from kwsd.capture.health import AudioState
from kwsd.daemon.commands import commands_of
from kwsd.daemon.control import Attachment
from kwsd.daemon.gauges import service_metrics
from kwsd.daemon.metrics import Metric, exposition
from kwsd.daemon.runtime_gauges import runtime_metrics
from kwsd.decision import NearMiss
from kwsd.dsp.metrics import FrontEndMetrics
from kwsd.runtime.usage import RuntimeUsage
from kwsd.source.live import LiveCounters

PAGE = (Path(__file__).resolve().parents[1] / "docs/service.md").read_text()


def table(marker: str) -> list[list[str]]:
    """Cells of the rows of the table behind a marker."""
    text = PAGE.split(f"<!-- {marker} -->\n", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def all_metrics() -> list[Metric]:
    """Every family, each with a value where the code gives it one without a model."""
    levels = {"mic_level_dbfs": (-30.0, -30.0), "doa_deg": None}
    names_of_front_end = FrontEndMetrics.__dataclass_fields__
    front_end = FrontEndMetrics(**{name: 1.0 for name in names_of_front_end} | levels)  # type: ignore[arg-type]
    health = SimpleNamespace(state=AudioState.RUNNING)
    source: Any = SimpleNamespace(counters=LiveCounters(), health=health)
    identity = SimpleNamespace(keyword="k", model="m", model_version="1", runtime="litert")
    model: Any = SimpleNamespace(identity=identity, decision=SimpleNamespace(near_misses=[]))
    usage = RuntimeUsage(
        "m", "litert", "closed", {"litert": 1}, {"litert": (1,)}, {"time-out": 1}, 0, 0, 0
    )
    return [*service_metrics(source, [model], {}, front_end), *runtime_metrics([usage])]


def test_every_metric_has_its_row() -> None:
    told = {
        name: (kind, names(labels))
        for cell, kind, labels, _ in table("metrics")
        for name in names(cell)
    }
    found: dict[str, tuple[str, set[str]]] = {}
    for metric in all_metrics():
        assert metric.values, metric.name
        labels = {key for row, _ in metric.values for key in row}
        (name,) = {
            re.split(r"[{ ]", line)[0]
            for line in exposition([metric]).splitlines()
            if not line.startswith("#")
        }
        found[name] = (metric.kind, labels)
    assert told == found


def keys(value: object) -> set[str]:
    """All keys within an answer."""
    if isinstance(value, dict):
        return {str(key) for key in value} | {key for part in value.values() for key in keys(part)}
    if isinstance(value, list):
        return {key for part in value for key in keys(part)}
    return set()


def test_every_command_and_every_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path)
    answers: dict[str, Any] = {}

    def ask() -> None:
        assert {name for row in table("commands") for name in names(row[0])} == set(
            commands_of(bench.service)
        )
        fields: dict[str, dict[str, object]] = {
            "sensitivity": {"keyword": "computer", "sensitivity": "low"},
            "enable": {"keyword": "computer"},
            "disable": {"keyword": "computer"},
            "explain": {"count": 3},
            "preroll": {"from_sample": 0},
        }
        # A mute would end the audio of what is asked behind it.
        for name in sorted(commands_of(bench.service), key=lambda name: name.endswith("mute")):
            answers[name] = bench.ask(name, **fields.get(name, {}))

    bench.at(2.0, ask)
    bench.run(3.0, monkeypatch)
    control = names(section("Control"))
    monitor = answers.pop("monitor")
    assert set(monitor) - set(answers["status"]) <= control
    for scores in monitor["scores"].values():
        assert set(scores) <= control
    answers.pop("metrics")
    for name, answer in answers.items():
        result = answer.result if isinstance(answer, Attachment) else answer
        assert keys(result) <= control, name


def test_near_misses_are_told() -> None:
    miss = NearMiss(16_000, 0.4, 0.6, "below threshold", ((16_000, 0.4),))
    model: Any = SimpleNamespace(
        identity=SimpleNamespace(keyword="k"), decision=SimpleNamespace(near_misses=[miss])
    )
    service: Any = SimpleNamespace(now=SimpleNamespace(models=[model]))
    answer = commands_of(service)["explain"]({})
    assert "curve" in keys(answer)
    assert keys(answer) <= names(section("Control"))
    assert set(asdict(LiveCounters())) <= names(section("Control"))
