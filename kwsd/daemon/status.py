"""What ``kwsctl status`` says of the input and of each keyword."""

from __future__ import annotations

from dataclasses import asdict

from kwsd.assemble import OpenModel
from kwsd.config import Config
from kwsd.daemon.saved_state import SavedState
from kwsd.operating_point import operating_point
from kwsd.source.live import LiveInput


def input_status(source: LiveInput) -> dict[str, object]:
    """The device, how it does, and its counters."""
    health = source.health
    return {
        "device": source.info.name,
        "state": str(health.state),
        "detail": health.detail,
        "microphones": source.info.microphones,
        "reference": source.info.has_reference,
        **asdict(source.counters),
    }


def keyword_status(model: OpenModel, config: Config, saved: SavedState) -> dict[str, object]:
    """A keyword: on what it runs, whether it wakes, and what decides from which score on."""
    keyword = model.identity.keyword
    point = operating_point(config, keyword, saved.sensitivities)
    return {
        "keyword": keyword,
        "model": model.identity.model,
        "version": model.identity.model_version,
        "runtime": model.identity.runtime,
        "runtime_reason": model.runtime.now.reason,
        "runtime_detail": model.runtime.now.detail,
        "enabled": keyword not in saved.disabled,
        "threshold": round(model.decision.config.threshold, 4),
        "threshold_origin": point.origin,
        "sensitivity": point.sensitivity,
    }
