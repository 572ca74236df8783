"""``kwsd-mqtt``: events of the bus as MQTT messages, for Home Assistant and scripts.

Wakes go out with QoS 1 and are never retained, nor kept while the broker is away: an old wake does
harm. States and discovery are retained and said again after each connection, and when Home
Assistant says that it has started.
"""

from __future__ import annotations

import json
import logging
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import zmq

from kwsd.bridge import discovery
from kwsd.bridge.command import run_bridge
from kwsd.bridge.listener import DEAD_AFTER_S, Listener, keep_subscribed
from kwsd.bridge.mqtt_settings import MqttSettings
from kwsd.bridge.settings import load_settings
from kwsd.ctl.connect import RENEW_S, Subscription
from kwsd.errors import ConfigError, KwsdError, RuntimeUnavailable
from kwsd.sink.endpoint import places_looked_at

if TYPE_CHECKING:
    from paho.mqtt.client import Client

    from kwsd.bridge.mqtt_client import NetworkClient

# By name: this module may be __main__.
log = logging.getLogger("kwsd.bridge.mqtt")

_QOS = 1
_POLL_MS = 200
_KEEPALIVE_S = 30
_FAREWELL_S = 2.0
_REFUSED = ("Bad user name or password", "Not authorized", "Client identifier not valid")
_FAULTS = ("silent", "stuck", "lost")
_WAKE_FIELDS = ("name", "score", "threshold", "snr_db", "doa_deg", "model", "id", "ts")


class MqttBridge:
    """Bus in, broker out.

    Parameters
    ----------
    settings : MqttSettings
        Checked settings.
    clock : callable
        Monotonic seconds.
    renew_s : float
        Without a message for so long it subscribes anew.

    Raises
    ------
    RuntimeUnavailable
        No paho-mqtt.
    ConfigError, MissingFileError
        A password or certificate file that cannot be used.
    """

    def __init__(
        self,
        settings: MqttSettings,
        clock: Callable[[], float] = time.monotonic,
        renew_s: float = RENEW_S,
    ) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._clock = clock
        self._renew_s = renew_s
        self._listener = Listener()
        self._keywords = dict.fromkeys(settings.keywords)
        self._state: dict[str, Any] | None = None
        self._heard_s = float("-inf")
        self._available: bool | None = None
        self.stopped = threading.Event()
        """Set it to end `run`."""
        # Written by paho's thread, read here.
        self._connected = threading.Event()
        self._say_all = threading.Event()
        self._refusal = ""
        self._was_connected = False
        self._said = ""
        self._client = self._make_client()

    def run(self) -> None:
        """Work until stopped.

        Raises
        ------
        ConfigError
            The broker refuses these credentials at the first connection; or a bad endpoint.
        KwsdError
            paho's thread has ended.
        """
        context: zmq.Context[Any] = zmq.Context(io_threads=1)
        try:
            bus = keep_subscribed(
                context,
                self._settings,
                "wake/",
                "audio/state/",
                renew_s=self._renew_s,
                clock=self._clock,
            )
            self._client.connect_async(
                self._settings.host, self._settings.broker_port, keepalive=_KEEPALIVE_S
            )
            self._client.loop_start()
            try:
                while not self.stopped.is_set():
                    self._turn(bus)
            finally:
                self._leave()
                bus.close()
        finally:
            context.term()

    def _turn(self, bus: Subscription) -> None:
        if self._refusal:
            raise ConfigError(
                f"broker {self._where()} refuses this client: {self._refusal}; check username, "
                "password_file and client_id"
            )
        if self._client.ended:
            raise KwsdError(
                f"the connection to broker {self._where()} has ended for good: "
                f"{self._client.ended}; start kwsd-mqtt again, --verbose says more"
            )
        if bus.channel.poll(_POLL_MS, zmq.POLLIN):
            event = self._listener.parse(bus.channel.recv_multipart())
            bus.heard()
            if event is not None:
                self._heard_s = self._clock()
                self._pass_on(event)
        else:
            bus.renew()
        if self._say_all.is_set() and self._connected.is_set():
            self._say_all.clear()
            self._say_everything()
        self._say_availability()

    def _pass_on(self, event: dict[str, Any]) -> None:
        if event["type"] == "wake":
            self._wake(event)
        elif event["type"] == "audio.state" and event.get("state") is not None:
            # Home Assistant drops an attribute that is called "state".
            self._state = {"audio": str(event["state"]), "detail": str(event.get("detail", ""))}
            self._say_state()

    def _wake(self, event: dict[str, Any]) -> None:
        keyword = event["name"]
        if keyword not in self._keywords:
            self._keywords[keyword] = None
            self._announce(keyword)
        if not self._connected.is_set():
            log.warning("wake %s is lost: the broker is away", keyword)
            return
        log.debug("wake %s", keyword)
        body = {"event_type": "wake"} | {key: event[key] for key in _WAKE_FIELDS if key in event}
        self._publish(self._topics.of("wake"), json.dumps(body, ensure_ascii=False), retain=False)

    def _say_everything(self) -> None:
        prefix = self._settings.discovery_prefix
        if prefix:
            for topic, payload in discovery.entities(self._topics, prefix).items():
                self._publish(topic, payload)
        for keyword in self._keywords:
            self._announce(keyword)
        self._say_state()
        self._available = None

    def _announce(self, keyword: str) -> None:
        if self._settings.discovery_prefix:
            prefix = self._settings.discovery_prefix
            self._publish(*discovery.trigger(self._topics, prefix, keyword))

    def _say_state(self) -> None:
        if self._state is None:
            return
        state = self._state["audio"]
        self._publish(self._topics.of("muted"), "ON" if state == "muted" else "OFF")
        self._publish(self._topics.of("problem"), "ON" if state in _FAULTS else "OFF")
        self._publish(self._topics.of("audio"), json.dumps(self._state))

    def _say_availability(self) -> None:
        alive = self._clock() - self._heard_s < DEAD_AFTER_S
        if alive == self._available or not self._connected.is_set():
            return
        if self._available is not None:
            place = self._settings.bus
            if alive:
                log.info("kwsd is there at %s", place)
            else:
                log.info("kwsd is gone at %s", places_looked_at(place))
        self._available = alive
        self._publish(self._topics.of("availability"), "online" if alive else "offline")

    def _publish(self, topic: str, payload: str, retain: bool = True) -> None:
        # What is published while the broker is away would queue; all of it is said again anyway.
        if self._connected.is_set():
            self._client.publish(topic, payload, qos=_QOS, retain=retain)

    def _leave(self) -> None:
        """Say goodbye: a clean end sends no last will."""
        if self._connected.is_set():
            farewell = self._client.publish(
                self._topics.of("availability"), "offline", qos=_QOS, retain=True
            )
            try:
                farewell.wait_for_publish(_FAREWELL_S)
            except (RuntimeError, ValueError):
                pass
        self._client.disconnect()
        self._client.loop_stop()

    def _where(self) -> str:
        return f"{self._settings.host}:{self._settings.broker_port}"

    def _make_client(self) -> NetworkClient:
        try:
            from paho.mqtt.enums import CallbackAPIVersion

            from kwsd.bridge.mqtt_client import NetworkClient
        except ImportError:
            raise RuntimeUnavailable(
                "paho-mqtt 2 is not installed; pip install 'kwsd[mqtt]'"
            ) from None
        settings = self._settings
        client = NetworkClient(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id or f"kwsd-{self._topics.node}",
        )
        if settings.username:
            client.username_pw_set(settings.username, settings.secret())
        if settings.tls:
            try:
                context = ssl.create_default_context(
                    cafile=None if settings.tls_ca_file is None else str(settings.tls_ca_file)
                )
                if settings.tls_certificate_file is not None:
                    context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file)
            except (OSError, ValueError) as error:
                raise ConfigError(f"TLS files cannot be used: {error}") from None
            client.tls_set_context(context)
        client.will_set(self._topics.of("availability"), "offline", qos=_QOS, retain=True)
        client.reconnect_delay_set(1, max(1, round(settings.retry_limit_s)))
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    # Called in paho's thread.

    def _on_connect(self, client: Client, _user: Any, _flags: Any, reason: Any, _p: Any) -> None:
        if reason.is_failure:
            if str(reason) in _REFUSED and not self._was_connected:
                self._refusal = str(reason)
            self._complain(f"refuses this client: {reason}")
            return
        log.info("connected to %s", self._where())
        self._said, self._was_connected = "", True
        if self._settings.discovery_prefix:
            self._hear_home_assistant(client, f"{self._settings.discovery_prefix}/status")
        self._connected.set()
        self._say_all.set()

    def _hear_home_assistant(self, client: Client, topic: str) -> None:
        if cast("NetworkClient", client).too_large:
            log.warning("%s has a message that is too large: not listened to until restart", topic)
            return
        client.subscribe(topic, qos=_QOS)

    def _on_connect_fail(self, _client: Client, _user: Any) -> None:
        # paho calls this from where it handles the reason.
        self._complain(f"cannot be reached: {sys.exc_info()[1]}")

    def _on_disconnect(
        self, _client: Client, _user: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if self._connected.is_set() and not self.stopped.is_set():
            self._complain(f"is gone: {reason}")
        self._connected.clear()

    def _on_message(self, _client: Client, _user: Any, message: Any) -> None:
        if message.payload == b"online":
            self._say_all.set()

    def _complain(self, what: str) -> None:
        """Once until the next connection, however many tries fail."""
        if not self._said:
            log.warning("broker %s %s; trying again, silently", self._where(), what)
        self._said = what


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``kwsd-mqtt``; gives the exit code."""
    return run_bridge("mqtt", "Carries kwsd's events to an MQTT broker.", _run, arguments)


def _run(file: Path | None) -> None:
    bridge = MqttBridge(load_settings(MqttSettings, "mqtt", file))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: bridge.stopped.set())
    bridge.run()


if __name__ == "__main__":
    sys.exit(main())
