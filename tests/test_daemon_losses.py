"""Lost audio is said, once a minute at most, and nothing of it is forgotten."""

from __future__ import annotations

import pytest

from kwsd.daemon.losses import APART_S, Losses
from kwsd.source.live import LiveCounters


def test_losses_are_added_up_and_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="kwsd")
    now_s = 100.0
    losses = Losses(lambda: now_s)

    def told(overruns: int, dropped: int) -> list[str]:
        caplog.clear()
        losses.look(LiveCounters(overruns=overruns, dropped_periods=dropped))
        return [record.getMessage().partition(";")[0] for record in caplog.records]

    assert told(0, 0) == []
    assert told(2, 0) == ["audio is lost: 2 overruns of the device, 0 deliveries dropped"]
    now_s += 1.0
    assert told(3, 5) == []
    now_s += APART_S
    assert told(4, 5) == ["audio is lost: 2 overruns of the device, 5 deliveries dropped"]
    now_s += APART_S
    assert told(4, 5) == []
    # Another input: it counts from 0.
    assert told(0, 0) == []
    assert told(1, 0) == ["audio is lost: 1 overruns of the device, 0 deliveries dropped"]
