"""A subscriber that does not read costs no more than the messages that are held for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq

from kwsd.config_schema import BusSettings
from kwsd.sink.zmq import open_bus

EVENT = {"v": 1, "type": "wake", "name": "computer", "model": "x" * 4000}
EVENTS = 2000
"""More of them than the socket between both sides holds."""


def arrived(settings: BusSettings, replay: bool) -> int:
    """Events that come to a subscriber which begins to read behind the last one."""
    bus = open_bus(settings, replay)
    with zmq.Context() as context, context.socket(zmq.SUB) as reader:
        reader.setsockopt(zmq.LINGER, 0)
        reader.setsockopt(zmq.RCVHWM, 1)
        reader.setsockopt(zmq.SUBSCRIBE, b"")
        reader.connect(bus.endpoint)
        assert bus.wait_for_subscriber(20.0)
        for _ in range(EVENTS):
            bus.emit(EVENT)
        count = 0
        while count < EVENTS and reader.poll(20_000 if count == 0 else 2_000):
            reader.recv_multipart()
            count += 1
    bus.close()
    return count


@pytest.mark.parametrize("replay", [False, True], ids=["service", "replay"])
def test_what_a_subscriber_does_not_read_is_held_as_far_as_configured(
    tmp_path: Path, replay: bool
) -> None:
    endpoint = f"ipc://{tmp_path}/e"
    few, enough = (
        BusSettings(endpoint=endpoint, send_queue_messages=held, linger_ms=0)
        for held in (10, EVENTS)
    )
    assert arrived(few, replay) < EVENTS // 2
    assert arrived(enough, replay) == EVENTS
