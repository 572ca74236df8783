"""A subscriber that does not read costs no more than the messages that are held for it."""

from __future__ import annotations

from pathlib import Path

import zmq

from kwsd.sink.zmq import BusSink

EVENTS = 2000
EVENT = {"v": 1, "type": "wake", "name": "computer", "model": "x" * 4000}


def test_what_a_subscriber_does_not_read_is_dropped_beyond_its_queue(tmp_path: Path) -> None:
    bus = BusSink(f"ipc://{tmp_path}/e", queue_messages=10, linger_ms=0)
    with zmq.Context() as context, context.socket(zmq.SUB) as reader:
        reader.setsockopt(zmq.LINGER, 0)
        reader.setsockopt(zmq.RCVHWM, 1)
        reader.setsockopt(zmq.SUBSCRIBE, b"")
        reader.connect(bus.endpoint)
        assert bus.wait_for_subscriber(20.0)
        for _ in range(EVENTS):
            bus.emit(EVENT)
        # Then it reads: what waited on both sides and in the socket between them.
        assert reader.poll(20_000)
        arrived = 0
        while reader.poll(500):
            reader.recv_multipart()
            arrived += 1
    bus.close()
    assert arrived < EVENTS // 2
