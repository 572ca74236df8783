"""The configuration's numbers reach the decision of each keyword."""

from __future__ import annotations

import pytest

from kwsd.assemble import decision_config, open_models
from kwsd.config import load_config
from kwsd.decision import DecisionConfig
from kwsd.model.find import find_package
from kwsd.model.package import load_package
from kwsd.source.base import SourceInfo


def decided(**settings: str) -> DecisionConfig:
    """Of ``computer``, under some settings; two underscores stand for a dot."""
    flags = [(key.replace("__", "."), value, "") for key, value in settings.items()]
    config = load_config(flags=flags, environment={})
    return decision_config(config, load_package(find_package("computer")))


def test_a_keyword_has_its_own_refractory_time_or_that_of_all() -> None:
    assert decided(wake__refractory_s="4.5").refractory_s == 4.5
    assert decided(keyword__computer__refractory_s="0.5").refractory_s == 0.5
    own = decided(wake__refractory_s="4.5", keyword__computer__refractory_s="0.0")
    assert own.refractory_s == 0.0
    other = decided(wake__refractory_s="4.5", keyword__jarvis__refractory_s="0.5")
    assert other.refractory_s == 4.5


def test_fractions_are_of_the_threshold_that_counts() -> None:
    config = decided(
        wake__threshold="0.8", wake__near_miss_fraction="0.25", wake__rearm_fraction="0.75"
    )
    assert config.near_miss_threshold == pytest.approx(0.2)
    assert config.rearm_threshold == pytest.approx(0.6)


def test_the_level_gate_is_that_of_the_configuration() -> None:
    assert decided(wake__level_gate_dbfs="-42").level_gate_dbfs == -42.0


def test_a_threshold_that_no_score_reaches_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="kwsd")
    for threshold in (1.0, 255 / 256):
        settings = [
            ("wake.threshold", str(threshold), ""),
            ("wake.models", '["computer"]', ""),
            ("runtime.order", '["litert"]', ""),
        ]
        config = load_config(flags=settings, environment={})
        for model in open_models(config, SourceInfo("test", 1, False, 16_000, 1, None)):
            model.close()
    assert [record.getMessage() for record in caplog.records] == [
        "computer cannot wake: threshold 1, and no score is above 0.9961"
    ]
