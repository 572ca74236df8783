"""Events: what leaves the chain, as plain dictionaries with a fixed key order.

The contract is ``kwsd/schema/event.schema.json``. Numbers are rounded here, once, so that the same
audio gives the same bytes; anything that is not finite becomes null.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.decision import Detection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kwsd.capture.health import AudioState
    from kwsd.dsp.metrics import FrontEndMetrics
    from kwsd.runtime.change import RuntimeChange
    from kwsd.source.live import LiveCounters

SCHEMA_VERSION = 1

Event = dict[str, Any]

_SCORE_DIGITS = 4
_TIME_DIGITS = 3
_DB_DIGITS = 1


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Who heard it."""

    keyword: str
    """Label of the keyword: ``name`` in the event."""

    model: str
    """Name of the model package."""

    model_version: str
    """Version of the model package."""

    runtime: str
    """Inference runtime that ran it."""


def wake_event(detection: Detection, identity: ModelIdentity, metrics: FrontEndMetrics) -> Event:
    """The event of one detection.

    Parameters
    ----------
    detection : Detection
        What the decision said.
    identity : ModelIdentity
        Keyword, model and runtime.
    metrics : FrontEndMetrics
        Of the block in which it was detected.

    Returns
    -------
    dict
        Keys in the order of the schema; times in seconds of the stream. ``onset_s`` and ``end_s``
        are estimates.
    """
    return {
        "v": SCHEMA_VERSION,
        "type": "wake",
        "name": identity.keyword,
        "score": round(detection.score, _SCORE_DIGITS),
        "threshold": round(detection.threshold, _SCORE_DIGITS),
        "onset_s": _seconds(detection.onset_sample),
        "end_s": _seconds(detection.end_sample),
        "detected_s": _seconds(detection.sample),
        "sample": detection.sample,
        "model": identity.model,
        "model_version": identity.model_version,
        "runtime": identity.runtime,
        "snr_db": _decibels(metrics.snr_db),
        "doa_deg": _decibels(metrics.doa_deg),
        "echo": {
            "active": bool(metrics.echo_active),
            "erle_db": _decibels(metrics.erle_db),
        },
    }


def runtime_event(
    models: Sequence[RuntimeChange], changed: RuntimeChange | None = None, sample: int = 0
) -> Event:
    """On what every model runs.

    Parameters
    ----------
    models : sequence of RuntimeChange
        The latest of each model.
    changed : RuntimeChange, optional
        The one of them that this event tells of; none at start.
    sample : int
        Stream position at the change, to a block.

    Returns
    -------
    dict
        Keys in the order of the schema.
    """
    event: Event = {"v": SCHEMA_VERSION, "type": "runtime.state"}
    if changed is not None:
        event |= {"changed": changed.model, "at_s": _seconds(sample)}
    return {**event, "models": [model.table() for model in models]}


def beat_event(audio: AudioState, ready: bool, wakes: int, counters: LiveCounters) -> Event:
    """That kwsd is there, and how its input does.

    Parameters
    ----------
    audio : AudioState
        Of the input.
    ready : bool
        Whether audio has flowed since the start, or none is wanted.
    wakes : int
        Since the start.
    counters : LiveCounters
        Of the input.

    Returns
    -------
    dict
        Keys in the order of the schema.
    """
    return {
        "v": SCHEMA_VERSION,
        "type": "health.beat",
        "audio": str(audio),
        "ready": ready,
        "wakes": wakes,
        **asdict(counters),
    }


def to_json(event: Event) -> str:
    """One event as one line of JSON, without the newline."""
    return json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def _seconds(sample: int) -> float:
    return round(sample / SAMPLE_RATE_HZ, _TIME_DIGITS)


def _decibels(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    # Adding zero turns -0.0, which a rounding can leave, into 0.0.
    return round(float(value), _DB_DIGITS) + 0.0
