"""``kwsctl events``: what the daemon publishes, for people or as JSON lines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import zmq

from kwsd.ctl.connect import connect
from kwsd.errors import EX_OK, BusError, UsageError
from kwsd.standard_output import reader_gone


def run(options: argparse.Namespace) -> int:
    """Print events until interrupted or nobody reads them, or as many as asked."""
    if options.count < 0:
        raise UsageError(f"--count {options.count}: must be 0, which is no end, or more")
    if not 0.05 <= options.timeout_s <= 86_400.0:
        raise UsageError(f"--timeout-s {options.timeout_s:g}: must be 0.05 to 86400")
    context: zmq.Context[Any] = zmq.Context(io_threads=1)
    channel = context.socket(zmq.SUB)
    channel.setsockopt(zmq.LINGER, 0)
    for topic in options.topics or ["wake/", "sound/", "audio/", "runtime/"]:
        channel.setsockopt(zmq.SUBSCRIBE, topic.encode())
    # The beat tells a quiet daemon from a dead one.
    channel.setsockopt(zmq.SUBSCRIBE, b"health/")
    left = options.count
    try:
        connect(channel, options.endpoint, "--endpoint")
        heard = False
        while (options.count == 0 or left > 0) and not reader_gone():
            if not channel.poll(round(options.timeout_s * 1000), zmq.POLLIN):
                what = "has stopped" if heard else "publishes"
                raise BusError(
                    f"{'kwsd' if heard else 'no kwsd'} {what} at {options.endpoint}: nothing for "
                    f"{options.timeout_s:g} s"
                )
            heard = True
            event = json.loads(channel.recv_multipart()[1])
            if event["type"] == "health.beat" and not any(
                topic.startswith("health") for topic in options.topics
            ):
                continue
            print(json.dumps(event) if options.json else as_line(event), flush=True)
            left -= 1
    finally:
        channel.close()
        context.term()
    return EX_OK


def as_line(event: Mapping[str, Any]) -> str:
    """One event for people."""
    kind = event["type"]
    when = str(event.get("ts", ""))[11:23]
    if kind == "wake":
        echo = ", loudspeaker active" if event["echo"]["active"] else ""
        snr = "" if event["snr_db"] is None else f", SNR {event['snr_db']:.0f} dB"
        return (
            f"{when}  {event['name']}  score {event['score']:.2f} "
            f"(needs {event['threshold']:.2f}){snr}{echo}"
        )
    if kind == "audio.state":
        detail = f": {event['detail']}" if event.get("detail") else ""
        return f"{when}  audio {event.get('state', '')} ({event['source']}){detail}"
    if kind == "runtime.state":
        models = ", ".join(f"{m['model']} on {m['runtime']}" for m in event.get("models", []))
        return f"{when}  runtime {models}"
    rest = {key: value for key, value in event.items() if key not in ("v", "type", "ts", "mono_ns")}
    return f"{when}  {kind} {json.dumps(rest)}"
