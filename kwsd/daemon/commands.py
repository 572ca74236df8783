"""What can be asked of a running service, checked, and done by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kwsd.block import SAMPLE_RATE_HZ
from kwsd.config_schema import SENSITIVITIES
from kwsd.control_protocol import CONFIGURED
from kwsd.daemon.control import Attachment, Command
from kwsd.daemon.raw_audio import raw_audio
from kwsd.errors import UsageError

if TYPE_CHECKING:
    from kwsd.assemble import OpenModel
    from kwsd.daemon.service import Service

EXPLAINED_AT_MOST = 10


def commands_of(service: Service) -> dict[str, Command]:
    """The commands by name."""
    return {
        "status": lambda request: service.status(),
        "mute": lambda request: service.mute(True),
        "unmute": lambda request: service.mute(False),
        "reload": lambda request: service.reload(),
        "sensitivity": lambda request: service.set_sensitivity(
            _keyword(service, request), _sensitivity(service, request)
        ),
        "enable": lambda request: service.set_enabled(_keyword(service, request), True),
        "disable": lambda request: service.set_enabled(_keyword(service, request), False),
        "explain": lambda request: _explain(service, request),
        "metrics": lambda request: service.metrics_text(),
        "preroll": lambda request: _preroll(service, request),
        "raw": lambda request: raw_audio(service.now.source, request),
        "monitor": lambda request: service.monitor_state(),
    }


def _keyword(service: Service, request: Mapping[str, Any]) -> str:
    keyword = request.get("keyword")
    known = [model.identity.keyword for model in service.now.models]
    if keyword not in known:
        raise UsageError(f"keyword {str(keyword)[:40]!r} is not loaded; there are {known}")
    return str(keyword)


def _sensitivity(service: Service, request: Mapping[str, Any]) -> str:
    value, known = request.get("sensitivity"), (*SENSITIVITIES, CONFIGURED)
    if value not in known:
        raise UsageError(f"sensitivity {str(value)[:40]!r} is not known; use {', '.join(known)}")
    keyword = _keyword(service, request)
    (model,) = (m for m in service.now.models if m.identity.keyword == keyword)
    if value != CONFIGURED and not model.package.has_sensitivities:
        raise UsageError(
            f"{model.package.name} has one threshold, {model.package.threshold(str(value)):g}, for "
            f"every sensitivity; set keyword.{keyword}.threshold in the configuration and reload"
        )
    return str(value)


def _explain(service: Service, request: Mapping[str, Any]) -> object:
    """The last near misses: what was heard, what refused it, and the score curve."""
    count = request.get("count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= EXPLAINED_AT_MOST:
        raise UsageError(f"count {str(count)[:40]}: must be 1 to {EXPLAINED_AT_MOST}")
    models = list(service.now.models)
    if "keyword" in request:
        keyword = _keyword(service, request)
        models = [model for model in models if model.identity.keyword == keyword]
    misses = [entry for model in models for entry in _near_misses(model)]
    misses.sort(key=lambda entry: entry["at_s"])
    return {"near_misses": misses[-count:]}


def _preroll(service: Service, request: Mapping[str, Any]) -> Attachment:
    """Voice branch from the onset of a wake, or from where the last answer ended."""
    wake, from_sample = request.get("id"), request.get("from_sample")
    if wake is not None and not isinstance(wake, str):
        raise UsageError("id: must be the id of a wake event")
    if from_sample is not None and (type(from_sample) is not int or from_sample < 0):
        raise UsageError(f"from_sample {str(from_sample)[:40]}: must be a position in samples")
    if service.now.preroll is None:
        raise UsageError("nothing is kept: preroll.length_s = 0")
    excerpt = service.now.preroll.fetch(wake, from_sample)
    return Attachment(
        {
            "first_sample": excerpt.first_sample,
            "next_sample": excerpt.next_sample,
            "lost_samples": excerpt.lost_samples,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "format": "s16le",
        },
        excerpt.pcm,
    )


def _near_misses(model: OpenModel) -> list[dict[str, Any]]:
    return [
        {
            "keyword": model.identity.keyword,
            "at_s": round(miss.sample / SAMPLE_RATE_HZ, 3),
            "score": round(miss.score, 4),
            "threshold": round(miss.threshold, 4),
            "reason": miss.reason,
            "curve": [
                [round(sample / SAMPLE_RATE_HZ, 3), round(score, 4)] for sample, score in miss.curve
            ],
        }
        for miss in model.decision.near_misses
    ]
