"""``kwsctl events``: what the daemon publishes, for people or as JSON lines."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import zmq

from kwsd.ctl.connect import RENEW_S, UNKNOWN_KEY, Subscription, connect
from kwsd.errors import EX_OK, BusError, UsageError
from kwsd.sink.endpoint import places_looked_at
from kwsd.standard_output import reader_gone

_POLL_MS = 1000


def run(options: argparse.Namespace, renew_s: float = RENEW_S) -> int:
    """Print events until interrupted or nobody reads them, or as many as asked.

    Without a message for ``renew_s`` it subscribes anew.
    """
    if options.count < 0:
        raise UsageError(f"--count {options.count}: must be 0, which is no end, or more")
    if not 0.05 <= options.timeout_s <= 86_400.0:
        raise UsageError(f"--timeout-s {options.timeout_s:g}: must be 0.05 to 86400")
    _check_keys(options)
    context: zmq.Context[Any] = zmq.Context(io_threads=1)
    left = options.count
    try:
        bus = Subscription(
            partial(_subscribe, context, options),
            options.endpoint,
            options.key_file is not None,
            _warn,
            renew_s,
        )
        heard = False
        while (options.count == 0 or left > 0) and not reader_gone():
            frames = _next(bus, options.timeout_s)
            if frames is None:
                raise BusError(_silence(options, heard))
            heard = True
            event = json.loads(frames[1])
            if event["type"] == "health.beat" and not any(
                topic.startswith("health") for topic in options.topics
            ):
                continue
            print(json.dumps(event) if options.json else as_line(event), flush=True)
            left -= 1
    finally:
        context.destroy(linger=0)
    return EX_OK


def _subscribe(context: zmq.Context[Any], options: argparse.Namespace) -> zmq.Socket[Any]:
    channel: zmq.Socket[Any] = context.socket(zmq.SUB)
    # Or a socket that was replaced would keep the context from ending.
    channel.setsockopt(zmq.LINGER, 0)
    try:
        for topic in options.topics or ["wake/", "sound/", "audio/", "runtime/"]:
            channel.setsockopt(zmq.SUBSCRIBE, topic.encode())
        # The beat tells a quiet daemon from a dead one.
        channel.setsockopt(zmq.SUBSCRIBE, b"health/")
        if options.key_file is not None:
            _secure(channel, options)
        connect(channel, options.endpoint, "--endpoint")
    except BaseException:
        channel.close()
        raise
    return channel


def _next(bus: Subscription, timeout_s: float) -> list[bytes] | None:
    """The next message, None where none comes in this time."""
    end_s = time.monotonic() + timeout_s
    while (left_s := end_s - time.monotonic()) > 0:
        bus.renew()
        if bus.channel.poll(min(_POLL_MS, round(left_s * 1000)), zmq.POLLIN):
            bus.heard()
            return list(bus.channel.recv_multipart())
    return None


def _warn(said: str) -> None:
    print(f"kwsctl: warning: {said}", file=sys.stderr)


def _check_keys(options: argparse.Namespace) -> None:
    if (options.key_file is None) != (options.server_key_file is None):
        raise UsageError("--key-file and --server-key-file: give both or neither")
    if options.key_file is not None and not options.endpoint.startswith("tcp://"):
        raise UsageError(
            f"--endpoint {options.endpoint}: must be tcp://host:port with --key-file, as "
            "bus.tcp_endpoint of the daemon; leave the keys out for a socket of this machine"
        )


def _secure(channel: zmq.Socket[Any], options: argparse.Namespace) -> None:
    # Here, since most who listen need no keys.
    from kwsd.sink.curve_client import KeyFile, secure_client

    secure_client(
        channel,
        KeyFile("--key-file", options.key_file),
        KeyFile("--server-key-file", options.server_key_file),
    )


def _silence(options: argparse.Namespace, heard: bool) -> str:
    """What to say when nothing comes; a daemon that refuses a key says nothing either."""
    what = "kwsd has stopped" if heard else "no kwsd publishes"
    said = f"{what} at {places_looked_at(options.endpoint)}: nothing for {options.timeout_s:g} s"
    if heard or not options.endpoint.startswith("tcp://"):
        return said
    if options.key_file is None:
        return f"{said}; if that is bus.tcp_endpoint, give --key-file and --server-key-file"
    return f"{said}; {UNKNOWN_KEY}, and name the daemon's own .key here"


def _time_of_day(ts: str) -> str:
    """Here, as the journal shows it; events themselves are in UTC."""
    try:
        return datetime.fromisoformat(ts).astimezone().strftime("%H:%M:%S.%f")[:12]
    except (ValueError, OverflowError, OSError):
        return ts[11:23]


def as_line(event: Mapping[str, Any]) -> str:
    """One event for people."""
    kind = event["type"]
    when = _time_of_day(str(event.get("ts", "")))
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
