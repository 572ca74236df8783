"""What decides over a keyword's threshold, and how what kwsctl set is told and undone."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from service_bench import ServiceBench

from kwsd import kwsctl
from kwsd.assemble import decision_config, keyword_of
from kwsd.config import load_config
from kwsd.model.find import find_model
from kwsd.model.package import load_package
from kwsd.operating_point import OperatingPoint, operating_point, with_set

CHOICES = {
    "keyword.computer.threshold": "0.11",
    "keyword.computer.sensitivity": "low",
    "wake.threshold": "0.22",
    "wake.sensitivity": "high",
}
"""In the order in which they count: docs/tune.md, "Set the sensitivity"."""


@pytest.mark.parametrize("chosen", [*itertools.product([False, True], repeat=len(CHOICES))])
def test_the_key_that_is_named_is_the_one_that_counts(chosen: tuple[bool, ...]) -> None:
    package = load_package(find_model("computer"))
    keyword = keyword_of(package)
    flags = [(key, CHOICES[key], "") for key, take in zip(CHOICES, chosen, strict=True) if take]
    config = load_config(flags=flags, environment={})
    point = operating_point(config, keyword, {})
    assert point.origin == next((key for key, _, _ in flags), "wake.sensitivity")
    if point.sensitivity is None:
        counts = float(CHOICES[point.origin])
    else:
        assert point.sensitivity == config.settings[point.origin].value
        counts = package.threshold(point.sensitivity)
    assert decision_config(config, package).threshold == counts

    # Before all of them, what kwsctl set.
    saved = {keyword: "medium"}
    assert operating_point(config, keyword, saved) == OperatingPoint("medium", "kwsctl set")
    changed = decision_config(with_set(config, keyword, saved), package)
    assert changed.threshold == package.threshold("medium")
    assert with_set(config, keyword, {"another": "low"}) is config


def test_configured_drops_what_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = ServiceBench(tmp_path, "keyword.computer.threshold = 0.84")
    seen: list[tuple[float, str | None, str]] = []

    def look() -> None:
        (entry,) = bench.ask("status")["keywords"]
        seen.append((entry["threshold"], entry["sensitivity"], entry["threshold_origin"]))

    def choose(sensitivity: str) -> None:
        bench.ask("sensitivity", keyword="computer", sensitivity=sensitivity)
        look()

    def saved() -> Any:
        return json.loads((tmp_path / "state.json").read_text())["sensitivities"]

    bench.at(0.5, look)
    bench.at(0.5, lambda: choose("low"))
    bench.at(0.5, lambda: bench.ask("reload"))
    bench.at(0.5, look)
    bench.run(1.0, monkeypatch)
    configured, low, reloaded = seen
    assert configured == (0.84, None, "keyword.computer.threshold")
    assert low == reloaded == (pytest.approx(low[0]), "low", "kwsctl set") and low[0] != 0.84
    assert saved() == {"computer": "low"}

    # It is said at the next start, where a configuration alone would not tell.
    caplog.clear()
    bench.at(0.5, look)
    bench.at(0.5, lambda: choose("configured"))
    bench.at(0.5, lambda: choose("configured"))
    bench.at(0.5, lambda: bench.fails("sensitivity", keyword="computer", sensitivity="loud"))
    bench.run(1.0, monkeypatch)
    assert seen[3:] == [low, configured, configured]
    assert saved() == {}
    (said,) = [record.message for record in caplog.records if "kept from" in record.message]
    assert said == (
        "kept from before: computer has sensitivity low by kwsctl set; "
        "kwsctl set computer configured undoes it"
    )
    caplog.clear()
    bench.at(0.5, lambda: bench.ask("disable", keyword="computer"))
    bench.run(1.0, monkeypatch)
    assert "kept from before" not in caplog.text
    bench.run(1.0, monkeypatch)
    assert "computer is disabled by kwsctl disable; kwsctl enable computer" in caplog.text


def test_a_model_with_one_threshold_takes_no_sensitivity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cutoff in place of a lower threshold of the configuration would do the opposite."""
    pytest.importorskip("pymicro_features", reason="no features: pip install pymicro-features")
    models = pytest.importorskip("pymicro_wakeword", reason="pip install pymicro-wakeword")
    manifest = Path(models.__file__).parent / "models" / "alexa.json"
    bench = ServiceBench(tmp_path, f"wake.models = ['{manifest}']", "keyword.alexa.threshold = 0.5")
    said: list[str] = []
    seen: list[object] = []
    bench.at(
        0.5, lambda: said.append(bench.fails("sensitivity", keyword="alexa", sensitivity="high"))
    )
    bench.at(0.5, lambda: bench.ask("sensitivity", keyword="alexa", sensitivity="configured"))
    bench.at(0.5, lambda: seen.append(bench.ask("status")["keywords"][0]["threshold"]))
    bench.run(1.0, monkeypatch)
    assert said == [
        "alexa has one threshold, 0.9, for every sensitivity; set keyword.alexa.threshold in the "
        "configuration and reload"
    ]
    assert seen == [0.5]


def test_a_sensitivity_that_nobody_knows_is_refused_with_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = ServiceBench(tmp_path)
    said: list[str] = []
    bench.at(
        0.5,
        lambda: said.append(bench.fails("sensitivity", keyword="computer", sensitivity="loud")),
    )
    bench.run(1.0, monkeypatch)
    assert said == ["sensitivity 'loud' is not known; use low, medium, high, configured"]
    assert kwsctl.main(["set", "computer", "loud"]) == 64
    assert "configured" in capsys.readouterr().err
