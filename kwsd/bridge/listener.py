"""The bridge's end of the event bus: a SUB socket, and messages that are checked before use."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import zmq

from kwsd.bridge.settings import BridgeSettings
from kwsd.ctl.connect import RENEW_S, Subscription
from kwsd.errors import ConfigError
from kwsd.sink.curve_client import KeyFile, secure_client
from kwsd.sink.ipv6 import allow_ipv6

log = logging.getLogger(__name__)

EVENT_VERSION = 1
LARGEST_MESSAGE_BYTES = 1 << 20
DEAD_AFTER_S = 5.0
"""Without a message (there is a beat each second) the daemon counts as gone."""

_NEEDED: dict[str, dict[str, type]] = {
    "wake": {"name": str, "score": float, "end_s": float},
    "audio.state": {"source": str},
    "health.beat": {"audio": str},
}


class Listener:
    """Reads messages and drops, with a counted warning, those that it cannot use."""

    def __init__(self) -> None:
        self.malformed = 0
        """Messages dropped."""

    def parse(self, frames: list[bytes]) -> dict[str, Any] | None:
        """The event in the frames of a bus message, None if it is not one of version 1."""
        try:
            event = _event(frames)
        except (ValueError, OverflowError, RecursionError) as error:
            self.malformed += 1
            # Each power of ten: a broken publisher must not fill the log.
            if math.log10(self.malformed).is_integer():
                log.warning("%d malformed bus messages ignored, last: %s", self.malformed, error)
            return None
        return event


def _event(frames: list[bytes]) -> dict[str, Any]:
    if len(frames) < 2:
        raise ValueError(f"{len(frames)} frames, not topic and event")
    frames[0].decode()
    event = json.loads(frames[1])
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise ValueError("not an object with a type")
    if event.get("v") != EVENT_VERSION:
        raise ValueError(f"version {str(event.get('v'))[:20]!r}, not {EVENT_VERSION}")
    for key, kind in _NEEDED.get(event["type"], {}).items():
        value: Any = event.get(key)
        right = isinstance(value, kind) and bool(value)
        if kind is float:
            right = type(value) in (int, float) and math.isfinite(value) and value >= 0
        if not right:
            raise ValueError(f"{event['type']} with {key} = {str(value)[:40]!r}")
    return event


def keep_subscribed(
    context: zmq.Context[Any],
    settings: BridgeSettings,
    *topics: str,
    renew_s: float = RENEW_S,
    clock: Callable[[], float] = time.monotonic,
) -> Subscription:
    """What `subscribe` gives, made anew where the daemon is not heard for ``renew_s``.

    The daemon's beat comes with the topics, since it tells a quiet daemon from one that is not
    heard. The endpoint stays the one that was found at first.
    """
    settings = replace(settings, bus_endpoint=settings.bus)
    return Subscription(
        partial(subscribe, context, settings, *topics, "health/beat/"),
        settings.bus,
        settings.curve_key_file is not None,
        log.warning,
        renew_s,
        clock,
    )


def subscribe(context: zmq.Context[Any], settings: BridgeSettings, *topics: str) -> Any:
    """A SUB socket on the daemon's bus; it connects again by itself unless it is refused.

    Parameters
    ----------
    context : zmq.Context
        Plain or asyncio; the socket is of its kind.
    settings : BridgeSettings
        Endpoint and, for an encrypted one, keys.
    *topics : str
        Such as ``wake/``.

    Raises
    ------
    ConfigError, MissingFileError
        An endpoint that is none, or keys that cannot be used.
    RuntimeUnavailable
        Keys, and a libzmq without CURVE.
    """
    channel = context.socket(zmq.SUB)
    channel.setsockopt(zmq.LINGER, 0)
    channel.setsockopt(zmq.MAXMSGSIZE, LARGEST_MESSAGE_BYTES)
    # Find out about a publisher that has vanished without saying goodbye.
    channel.setsockopt(zmq.HEARTBEAT_IVL, 5_000)
    channel.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)
    channel.setsockopt(zmq.RECONNECT_IVL_MAX, 5_000)
    for topic in topics:
        channel.setsockopt(zmq.SUBSCRIBE, topic.encode())
    try:
        if settings.curve_key_file is not None and settings.curve_server_key_file is not None:
            secure_client(
                channel,
                KeyFile("curve_key_file =", settings.curve_key_file),
                KeyFile("curve_server_key_file =", settings.curve_server_key_file),
            )
        allow_ipv6(channel, settings.bus)
        channel.connect(settings.bus)
    except zmq.ZMQError as error:
        channel.close()
        raise ConfigError(
            f"bus_endpoint = {settings.bus}: {error.strerror}; use ipc:///path or tcp://host:port"
        ) from None
    except BaseException:
        channel.close()
        raise
    return channel
