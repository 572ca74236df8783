"""What `kwsctl monitor` polls: meters, scores since the last poll and the last wakes."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict
from datetime import UTC, datetime

from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.dsp.metrics import FrontEndMetrics
from kwsd.event import Event

LAST_WAKES = 8


class MonitorTap:
    """A tap of the chain for people who watch."""

    def __init__(self) -> None:
        self._metrics: FrontEndMetrics | None = None
        self._scores: dict[str, float] = {}
        self._highest: dict[str, float] = {}
        self._wakes: deque[Event] = deque(maxlen=LAST_WAKES)

    def frame(self, frame: FrontEndFrame) -> None:
        """Keep its metrics."""
        self._metrics = frame.metrics

    def score(self, keyword: str, end_sample: int, smoothed: float) -> None:
        """Keep the latest and the highest of each keyword."""
        self._scores[keyword] = smoothed
        self._highest[keyword] = max(smoothed, self._highest.get(keyword, 0.0))

    def forget_scores(self) -> None:
        """Other models are there: the old ones' words may be gone."""
        self._scores = {}
        self._highest = {}

    def wake(self, event: Event) -> None:
        """Keep a wake that was published."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._wakes.append({"ts": now.replace("+00:00", "Z"), **event})

    def state(self) -> dict[str, object]:
        """For JSON; the highest scores begin anew."""
        meters = {} if self._metrics is None else asdict(self._metrics)
        scores = {
            name: {"now": round(score, 4), "highest": round(self._highest.get(name, score), 4)}
            for name, score in self._scores.items()
        }
        self._highest = {}
        return {
            "front_end": {name: _plain(value) for name, value in meters.items()},
            "scores": scores,
            "last_wakes": list(self._wakes),
        }


def _plain(value: object) -> object:
    """What JSON can hold: numbers that are finite."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 2) if math.isfinite(value) else None
    return value
