"""The MQTT bridge against a real broker: what arrives, and what happens when one of them dies."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_kwsd import FakeKwsd
from free_port import free_port
from mqtt_broker import Broker, find

from kwsd.bridge import discovery
from kwsd.bridge import mqtt as bridge_module
from kwsd.bridge.mqtt import MqttBridge
from kwsd.bridge.mqtt_settings import MqttSettings
from kwsd.capture.health import AudioState
from kwsd.errors import KwsdError

paho = pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: install kwsd[mqtt]")
from paho.mqtt.enums import CallbackAPIVersion  # noqa: E402

LIMIT_S = 30.0
EXAMPLE = Path(__file__).parent.parent / "examples/home_assistant.yaml"

# What Home Assistant drops of json_attributes_topic: MQTT_ATTRIBUTES_BLOCKED of its versions.
ATTRIBUTES_BLOCKED = {
    *("assumed_state", "available", "context_recent_time", "device_class", "device_info"),
    *("entity_category", "entity_picture", "entity_registry_enabled_default"),
    *("extra_state_attributes", "force_update", "friendly_name", "icon", "name", "should_poll"),
    *("state", "supported_features", "unique_id", "unit_of_measurement"),
}
# What it writes over: attributes that every entity, or every event, has from itself.
ATTRIBUTES_OF_EVERY_ENTITY = {
    *("assumed_state", "attribution", "device_class", "entity_picture", "friendly_name", "icon"),
    *("supported_features", "event_type", "event_types"),
}


def until(what: Callable[[], object], shown: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + LIMIT_S
    while not what():
        if time.monotonic() > deadline:
            pytest.fail(f"never happened; {shown()}")
        time.sleep(0.02)


class Watcher:
    """A client that keeps all it hears."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, str, bool, int]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_message = lambda client, user, m: self.messages.append(
            (m.topic, m.payload[:10_000].decode(), m.retain, m.qos)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def of(self, topic: str) -> list[str]:
        return [payload for place, payload, *_ in self.messages if place == topic]

    def wait(self, topic: str, payload: str | None = None) -> str:
        """The last payload of a topic, once it is there and, if given, is this one."""
        until(
            lambda: self.of(topic)[-1:] and payload in (None, self.of(topic)[-1]),
            lambda: f"{topic} {payload}; messages {self.messages[-8:]}",
        )
        return self.of(topic)[-1]

    def publish(self, topic: str, payload: str) -> None:
        self._client.publish(topic, payload, qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def found_by_a_late_comer(broker: Broker, topic: str) -> str:
    """What the broker kept of a topic."""
    watcher = Watcher(broker.port)
    try:
        return watcher.wait(topic)
    finally:
        watcher.close()


class Running:
    """A bridge in a thread."""

    def __init__(self, kwsd: FakeKwsd, port: int, **settings: Any) -> None:
        self.bridge = MqttBridge(
            MqttSettings(
                bus_endpoint=kwsd.bus_endpoint,
                port=port,
                node="kitchen",
                retry_limit_s=1.0,
                **{"host": "127.0.0.1", **settings},
            )
        )
        self.error: KwsdError | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.bridge.run()
        except KwsdError as error:
            self.error = error

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def close(self) -> None:
        self.bridge.stopped.set()
        self._thread.join()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kwsd") as made:
        yield Path(made)


@pytest.fixture
def kwsd(folder: Path) -> Iterator[FakeKwsd]:
    made = FakeKwsd(folder)
    yield made
    made.close()


@pytest.fixture
def broker(folder: Path) -> Iterator[Broker]:
    made = Broker(folder)
    yield made
    made.stop()


def test_wakes_states_and_discovery(
    kwsd: FakeKwsd, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(broker.port)
    running = Running(kwsd, broker.port, keywords=("computer",))
    try:
        watcher.wait("kwsd/kitchen/availability", "online")
        kwsd.audio("running")
        watcher.wait("kwsd/kitchen/muted", "OFF")
        watcher.wait("kwsd/kitchen/problem", "OFF")

        # Rubbish on the bus hurts nobody.
        kwsd.raw(b"wake/computer/", b"{")
        kwsd.raw(b"wake/")
        kwsd.wake("computer")
        wake = json.loads(watcher.wait("kwsd/kitchen/wake"))
        assert wake["event_type"] == "wake"
        assert wake["name"] == "computer" and wake["score"] == 0.91 and wake["ts"]
        assert running.bridge._listener.malformed == 2
        assert [m[3] for m in watcher.messages if m[0] == "kwsd/kitchen/wake"] == [1]

        # A keyword that was not configured gets its trigger when it is first heard.
        kwsd.wake("hey kws")
        place = "homeassistant/device_automation/kitchen/wake_hey_kws/config"
        assert json.loads(watcher.wait(place))["payload"] == "hey kws"

        kwsd.audio("muted")
        watcher.wait("kwsd/kitchen/muted", "ON")
        kwsd.audio("lost", "no device")
        watcher.wait("kwsd/kitchen/problem", "ON")
        watcher.wait("kwsd/kitchen/muted", "OFF")
        watcher.wait("kwsd/kitchen/audio", '{"audio": "lost", "detail": "no device"}')

        # What a late comer finds: all but the wakes.
        late = Watcher(broker.port)
        late.wait("kwsd/kitchen/availability", "online")
        late.wait("kwsd/kitchen/muted", "OFF")
        late.wait("kwsd/kitchen/audio", '{"audio": "lost", "detail": "no device"}')
        late.wait("kwsd/kitchen/problem", "ON")
        late.wait("homeassistant/event/kitchen/wake/config")
        late.wait("homeassistant/device_automation/kitchen/wake_computer/config")
        assert json.loads(late.wait("homeassistant/binary_sensor/kitchen/muted/config"))
        assert all(retained for _, _, retained, _ in late.messages)
        assert not late.of("kwsd/kitchen/wake")
        late.close()

        # Home Assistant has started anew: it is told again.
        watcher.messages.clear()
        watcher.publish("homeassistant/status", "online")
        watcher.wait("homeassistant/event/kitchen/wake/config")
        watcher.wait("kwsd/kitchen/availability", "online")
        watcher.wait("kwsd/kitchen/problem", "ON")

        # A daemon that has died is not available, one that is back is.
        monkeypatch.setattr(bridge_module, "DEAD_AFTER_S", 0.5)
        kwsd.beating = False
        watcher.wait("kwsd/kitchen/availability", "offline")
        monkeypatch.undo()
        kwsd.beating = True
        watcher.wait("kwsd/kitchen/availability", "online")
    finally:
        running.close()
    watcher.wait("kwsd/kitchen/availability", "offline")
    watcher.close()
    assert found_by_a_late_comer(broker, "kwsd/kitchen/availability") == "offline"


def test_whatever_is_wrong_with_the_input_is_a_problem(kwsd: FakeKwsd, broker: Broker) -> None:
    watcher = Watcher(broker.port)
    running = Running(kwsd, broker.port)
    wrong = (AudioState.SILENT, AudioState.STUCK, AudioState.LOST)
    try:
        watcher.wait("kwsd/kitchen/availability", "online")
        for state in AudioState:
            kwsd.audio(state)
            watcher.wait("kwsd/kitchen/audio", f'{{"audio": "{state}", "detail": ""}}')
            # Said before the text, in this order.
            assert watcher.of("kwsd/kitchen/problem")[-1] == ("ON" if state in wrong else "OFF")
            muted = state is AudioState.MUTED
            assert watcher.of("kwsd/kitchen/muted")[-1] == ("ON" if muted else "OFF")
    finally:
        running.close()
        watcher.close()


def test_a_broker_that_is_late_and_one_that_restarts(
    kwsd: FakeKwsd, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kwsd")
    broker.stop()
    running = Running(kwsd, broker.port)
    try:
        kwsd.audio("muted")
        until(lambda: "cannot be reached" in caplog.text)
        # A wake that is sent before the bridge has subscribed is nobody's.
        until(lambda: running.bridge._heard_s > 0)
        kwsd.wake("early")
        until(lambda: "wake early is lost" in caplog.text)
        time.sleep(1.5)
        assert caplog.text.count("cannot be reached") == 1
        broker.start()
        watcher = Watcher(broker.port)
        watcher.wait("kwsd/kitchen/availability", "online")
        watcher.wait("kwsd/kitchen/muted", "ON")

        broker.stop()
        until(lambda: "is gone" in caplog.text)
        kwsd.wake("meanwhile")
        until(lambda: "wake meanwhile is lost" in caplog.text)
        watcher.close()
        broker.start()
        # It has forgotten everything; the bridge says it all again.
        watcher = Watcher(broker.port)
        watcher.wait("kwsd/kitchen/availability", "online")
        watcher.wait("kwsd/kitchen/muted", "ON")
        watcher.wait("homeassistant/event/kitchen/wake/config")
        kwsd.wake("after")
        watcher.wait("kwsd/kitchen/wake")
        names = [json.loads(payload)["name"] for payload in watcher.of("kwsd/kitchen/wake")]
        assert names == ["after"]
        watcher.close()
    finally:
        running.close()


def test_the_last_will_speaks_for_a_bridge_that_was_killed(
    kwsd: FakeKwsd, broker: Broker, folder: Path
) -> None:
    config = folder / "mqtt.toml"
    config.write_text(
        f'bus_endpoint = "{kwsd.bus_endpoint}"\nhost = "127.0.0.1"\nport = {broker.port}\n'
        'node = "kitchen"\ntopic_prefix = "home/voice"\n'
    )
    watcher = Watcher(broker.port)
    command = [sys.executable, "-m", "kwsd.bridge.mqtt", "--config", str(config)]
    process = subprocess.Popen(command)
    try:
        watcher.wait("home/voice/kitchen/availability", "online")
        process.kill()
        process.wait()
        watcher.wait("home/voice/kitchen/availability", "offline")
        assert found_by_a_late_comer(broker, "home/voice/kitchen/availability") == "offline"
        process = subprocess.Popen(command)
        watcher.wait("home/voice/kitchen/availability", "online")
        assert found_by_a_late_comer(broker, "home/voice/kitchen/availability") == "online"
        process.terminate()
        assert process.wait(20) == 0
        watcher.wait("home/voice/kitchen/availability", "offline")
        assert found_by_a_late_comer(broker, "home/voice/kitchen/availability") == "offline"
    finally:
        process.kill()
        process.wait()
        watcher.close()


def test_wrong_credentials_end_it_with_a_reason(kwsd: FakeKwsd, folder: Path) -> None:
    broker = Broker(folder, "bridge", "right")
    try:
        wrong = Running(kwsd, broker.port, username="bridge", password="wrong")
        until(lambda: wrong.ended)
        assert wrong.error is not None and wrong.error.exit_code == 78
        assert "refuses this client" in str(wrong.error) and "wrong" not in str(wrong.error)
        right = Running(kwsd, broker.port, username="bridge", password="right")
        until(right.bridge._connected.is_set)
        right.close()
        assert right.error is None
    finally:
        broker.stop()


def test_tls_checks_the_broker(
    kwsd: FakeKwsd, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kwsd")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [find("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    broker = Broker(folder, tls=(certificate, key))
    try:
        known = Running(kwsd, broker.port, tls=True, tls_ca_file=certificate)
        until(known.bridge._connected.is_set)
        known.close()
        unknown = Running(kwsd, broker.port, tls=True)
        until(lambda: "certificate verify failed" in caplog.text)
        assert not unknown.bridge._connected.is_set()
        unknown.close()
    finally:
        broker.stop()


def test_a_broker_that_is_not_there_does_not_keep_it_from_leaving(kwsd: FakeKwsd) -> None:
    running = Running(kwsd, free_port())
    time.sleep(0.3)
    running.close()
    assert running.error is None


def test_a_network_thread_that_dies_ends_the_bridge(kwsd: FakeKwsd) -> None:
    # Settings that were not checked: the resolver raises what paho does not expect.
    running = Running(kwsd, free_port(), host="broker..lan")
    try:
        until(lambda: running.ended)
    finally:
        running.close()
    assert running.error is not None and running.error.exit_code == 70
    assert "broker broker..lan:" in str(running.error)
    assert "UnicodeError" in str(running.error)


def test_a_message_that_is_too_large_costs_one_connection(
    kwsd: FakeKwsd, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    sender = paho.Client(CallbackAPIVersion.VERSION2)
    sender.connect("127.0.0.1", broker.port)
    sender.loop_start()
    sender.publish("homeassistant/status", b"x" * 1_000_000, qos=1, retain=True).wait_for_publish(5)
    watcher = Watcher(broker.port)
    with caplog.at_level(logging.WARNING, "kwsd"):
        running = Running(kwsd, broker.port)
        try:
            until(lambda: "not listened to until restart" in caplog.text, lambda: caplog.text)
            watcher.wait("kwsd/kitchen/availability", "online")
            kwsd.wake("computer")
            watcher.wait("kwsd/kitchen/wake")
            assert not running.ended
        finally:
            running.close()
            watcher.close()
            sender.loop_stop()


def test_home_assistant_keeps_what_the_example_asks_for(kwsd: FakeKwsd, broker: Broker) -> None:
    watcher = Watcher(broker.port)
    running = Running(kwsd, broker.port)
    try:
        watcher.wait("kwsd/kitchen/availability", "online")
        kwsd.audio("lost", "no device")
        kwsd.wake("computer")
        wake = json.loads(watcher.wait("kwsd/kitchen/wake"))
        kept = {"event.kwsd_kitchen_wake": set(wake) - {"event_type"}}
        assert not kept["event.kwsd_kitchen_wake"] & ATTRIBUTES_OF_EVERY_ENTITY
        for topic, text in discovery.entities(running.bridge._topics, "homeassistant").items():
            config = json.loads(watcher.wait(topic, text))
            if "json_attributes_topic" in config:
                assert "json_attributes_template" not in config, "its names are not read here"
                sent = set(json.loads(watcher.wait(config["json_attributes_topic"])))
                assert not sent & (ATTRIBUTES_BLOCKED | ATTRIBUTES_OF_EVERY_ENTITY)
                kept[config["default_entity_id"]] = sent
    finally:
        running.close()
        watcher.close()
    asked = re.findall(r"state_attr\('([^']+)', '([^']+)'\)", EXAMPLE.read_text())
    assert len(asked) == 2
    for entity, attribute in asked:
        assert attribute in kept[entity], f"{entity} has no {attribute}"


def test_home_assistant_understands_what_is_published(kwsd: FakeKwsd, broker: Broker) -> None:
    """What a discovery message says of a topic is true of what is sent there."""
    watcher = Watcher(broker.port)
    running = Running(kwsd, broker.port)

    def config(place: str) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(watcher.wait(f"homeassistant/{place}/config"))
        return made

    try:
        watcher.wait("kwsd/kitchen/availability", "online")
        # One is on and the other off, so neither can stand for the other.
        kwsd.audio("lost", "no device")
        problem, muted = (config(f"binary_sensor/kitchen/{it}") for it in ("problem", "muted"))
        watcher.wait(problem["state_topic"], "ON")
        watcher.wait(muted["state_topic"], "OFF")
        assert problem["device_class"] == "problem" and "device_class" not in muted
        heard = config("event/kitchen/wake")
        for entity in (problem, muted, heard):
            watcher.wait(entity["availability_topic"], "online")

        for keyword, place in (("computer", "wake_computer"), ("hey kws", "wake_hey_kws")):
            kwsd.wake(keyword)
            trigger = config(f"device_automation/kitchen/{place}")
            assert trigger["value_template"] == "{{ value_json.name }}"
            until(
                lambda keyword=trigger["payload"], topic=trigger["topic"]: [
                    text for text in watcher.of(topic) if json.loads(text).get("name") == keyword
                ],
                lambda: watcher.messages[-8:],
            )
            assert trigger["payload"] == trigger["subtype"] == keyword
            assert trigger["device"] == heard["device"]
        for text in watcher.of(heard["state_topic"]):
            assert json.loads(text)["event_type"] in heard["event_types"]
        assert len(watcher.of(heard["state_topic"])) == 2
    finally:
        running.close()
        watcher.close()


def test_discovery_tells_two_bridges_apart() -> None:
    unique: set[str] = set()
    for node in ("kitchen", "living-room"):
        topics = discovery.Topics("home/voice", node)
        made = discovery.entities(topics, "homeassistant")
        payloads = [json.loads(text) for text in made.values()]
        unique |= {payload["unique_id"] for payload in payloads}
        for payload in payloads:
            assert payload["state_topic"].startswith(f"home/voice/{node}/")
            assert payload["availability_topic"] == f"home/voice/{node}/availability"
            assert payload["device"]["identifiers"] == [f"kwsd_{node}"]
            assert payload["origin"]["name"]
        place, text = discovery.trigger(topics, "homeassistant", "hey/kws+#")
        assert place == f"homeassistant/device_automation/{node}/wake_hey_kws__/config"
        assert json.loads(text)["topic"] == f"home/voice/{node}/wake"
        assert json.loads(text)["automation_type"] == "trigger"
    assert len(unique) == 2 * 3
