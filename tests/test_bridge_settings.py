"""Bridges: settings, and messages of the bus that are not what they should be."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import zmq
from fake_kwsd import FakeKwsd
from free_port import free_port
from hypothesis import given, settings
from hypothesis import strategies as st
from other_user import closed_folder, other_user

from kwsd.bridge.listener import Listener, subscribe
from kwsd.bridge.mqtt import main as kwsd_mqtt
from kwsd.bridge.mqtt_settings import MqttSettings
from kwsd.bridge.settings import BridgeSettings, load_settings
from kwsd.bridge.wyoming import main as kwsd_wyoming
from kwsd.bridge.wyoming_settings import WyomingSettings
from kwsd.errors import ConfigError, MissingFileError
from kwsd.sink.curve import SecuredEndpoint, write_pair


def mqtt(folder: Path, text: str = "", mode: int = 0o640, **variables: str) -> MqttSettings:
    file = folder / "mqtt.toml"
    file.write_text(text)
    file.chmod(mode)
    environment = {f"KWSD_MQTT_{key.upper()}": value for key, value in variables.items()}
    return load_settings(MqttSettings, "mqtt", file, environment)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    text = 'host = "broker"\nport = 1884\nkeywords = ["computer"]\ntls = false\n'
    made = mqtt(tmp_path, text, port="1999", keywords="a, b", tls="yes")
    assert made.host == "broker"
    assert made.broker_port == 1999
    assert made.keywords == ("a", "b")
    assert made.tls is True
    assert mqtt(tmp_path, "tls = true").broker_port == 8883
    assert mqtt(tmp_path).broker_port == 1883
    assert load_settings(MqttSettings, "no_such_bridge", None, {}).host == "localhost"


def test_a_key_in_a_folder_that_may_not_be_entered_is_said() -> None:
    with closed_folder() as (folder, _), tempfile.TemporaryDirectory() as open_folder:
        Path(open_folder).chmod(0o755)
        file = Path(open_folder) / "mqtt.toml"
        file.write_text(f"tls = true\ntls_key_file = '{folder / 'me.key'}'")
        with other_user(), pytest.raises(ConfigError, match="tls_key_file = .*Permission denied"):
            load_settings(MqttSettings, "mqtt", file, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hots = 'x'", "did you mean host"),
        ('"ho\\nst" = 1', r"toml: 'ho\\nst' is not a setting; did you mean host"),
        ("host = 3", "host = '3': must be of kind string"),
        ("port = 70000", "must be 0 to 65535"),
        ("port = true", "must be of kind int"),
        ("tls = 1", "true or false"),
        ("keywords = 'computer'", "a list of strings"),
        ("host = ", "not valid TOML"),
        ("port = " + "9" * 5000, "not valid TOML"),
        ("keywords = " + "[" * 2000, "nested too deeply"),
        ("host = 'a b'", "name or address"),
        ("host = ''", "name or address"),
        ("host = 'a\\u0000b'".replace("'", '"'), "name or address"),
        ("host = '192.168.1..5'", "host = '192.168.1..5': .* 1 to 63 characters"),
        ("host = 'broker..lan'", "1 to 63 characters"),
        ("host = '.local'", "1 to 63 characters"),
        (f"host = '{'b' * 64}.lan'", "1 to 63 characters"),
        (f"host = '{'ü' * 60}.lan'", "1 to 63 characters"),
        ("topic_prefix = 'home/#'", "without [+] and #"),
        ("topic_prefix = ''", "levels such as"),
        ("topic_prefix = '/home'", "no slash at either end"),
        ("topic_prefix = '$SYS'", "no [$]"),
        ("topic_prefix = 'a\\u0000b'".replace("'", '"'), "levels such as"),
        ("discovery_prefix = 'a+'", "discovery_prefix"),
        ("node = 'my kitchen'", "node = 'my kitchen'"),
        ("password = 'x'", "needs a username"),
        ("username = 'u'\npassword = 'x'\npassword_file = '/x'", "set one of them"),
        ("tls_ca_file = '/etc/hosts'", "set tls = true"),
        ("curve_key_file = '/x'", "set both or neither"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        mqtt(tmp_path, text)


@pytest.mark.parametrize(
    "host", ["localhost", "192.168.1.5", "fe80::1%eth0", "broker.lan.", "b" * 63 + ".lan", "küche"]
)
def test_a_host_that_may_exist_is_taken(tmp_path: Path, host: str) -> None:
    assert mqtt(tmp_path, f"host = '{host}'").host == host


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="KWSD_MQTT_HOTS.*did you mean host"):
        mqtt(tmp_path, hots="x")


def test_a_password_is_not_left_open_or_shown(tmp_path: Path) -> None:
    text = 'username = "u"\npassword = "hush"\n'
    assert mqtt(tmp_path, text).secret() == "hush"
    with pytest.raises(ConfigError, match="chmod 640"):
        mqtt(tmp_path, text, mode=0o644)
    with pytest.raises(ConfigError) as refused:
        mqtt(tmp_path, 'username = "u"\npassword = ["hush"]\n')
    assert "hush" not in str(refused.value)

    secret = tmp_path / "secret"
    text = f'username = "u"\npassword_file = "{secret}"\n'
    with pytest.raises(MissingFileError, match="no such file"):
        mqtt(tmp_path, text).secret()
    secret.write_text("hush\n")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 640"):
        mqtt(tmp_path, text).secret()
    secret.chmod(0o600)
    assert mqtt(tmp_path, text).secret() == "hush"
    secret.write_text("")
    with pytest.raises(ConfigError, match="first line"):
        mqtt(tmp_path, text).secret()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("uri = 'http://x:1'", "must be tcp://"),
        ("uri = 'tcp://127.0.0.1'", "must be tcp://"),
        ("uri = 'tcp://127.0.0.1:99999'", "must be tcp://"),
        ("uri = 'tcp://0.0.0..0:10700'", "1 to 63 characters"),
        ("end_stage = 'wake'", "use asr, handle, tts"),
        ("stream_limit_s = 0", "must be 1 to 300"),
        ("control_endpoint = 'tcp://127.0.0.1:1'", "daemon's machine"),
    ],
)
def test_a_wrong_wyoming_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wyoming.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_settings(WyomingSettings, "wyoming", file, {})


@pytest.mark.parametrize("main", [kwsd_mqtt, kwsd_wyoming])
def test_mistakes_are_one_line_and_a_code(
    main: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--no-such-flag"]) == 64
    assert main(["--config", str(tmp_path / "none.toml")]) == 66
    bad = tmp_path / "bad.toml"
    bad.write_text("nonsense = 1\n")
    assert main(["--config", str(bad)]) == 78
    bad.write_text("bus_endpoint = 'nowhere'\n")
    assert main(["--config", str(bad)]) == 78
    error = capsys.readouterr().err
    assert "Traceback" not in error and error.count("error:") == 4


def test_no_bridge_brings_the_dsp_stage_along() -> None:
    code = (
        "import sys, kwsd.bridge.mqtt, kwsd.bridge.wyoming; "
        "bad = {'numpy', 'soundfile', 'soxr', 'kwsd.dsp', 'kwsd.chain'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


WAKE = {"v": 1, "type": "wake", "name": "computer", "score": 0.9, "end_s": 1.5}


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"wake/"],
        [b"\xff", json.dumps(WAKE).encode()],
        [b"wake/", b"not json"],
        [b"wake/", b"\xff\xfe"],
        [b"wake/", b"[" * 100_000],
        [b"wake/", b"[1]"],
        [b"wake/", json.dumps({**WAKE, "v": 2}).encode()],
        [b"wake/", json.dumps({**WAKE, "name": ""}).encode()],
        [b"wake/", json.dumps({**WAKE, "name": 7}).encode()],
        [b"wake/", json.dumps({**WAKE, "end_s": "1"}).encode()],
        [b"wake/", json.dumps({**WAKE, "end_s": -1}).encode()],
        [b"wake/", json.dumps({**WAKE, "end_s": True}).encode()],
        [b"wake/", b'{"v": 1, "type": "wake", "name": "x", "score": 1, "end_s": 1e999}'],
        [b"wake/", b'{"v": 1, "type": "wake", "name": "x", "score": 1, "end_s": 1' + b"0" * 400],
        [b"wake/", json.dumps({**WAKE, "end_s": 10**400}).encode()],
        [b"audio/", b'{"v": 1, "type": "audio.state"}'],
    ],
)
def test_a_malformed_message_is_counted(
    frames: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener()
    assert listener.parse(frames) is None
    assert listener.malformed == 1
    assert "1 malformed bus messages ignored" in caplog.text
    assert listener.parse([b"wake/computer/", json.dumps(WAKE).encode()]) == WAKE
    for _ in range(98):
        listener.parse(frames)
    # 1 and 10; not one line a message.
    assert len(caplog.records) == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
fields = st.sampled_from(["v", "type", "name", "score", "end_s", "audio", "source"])
kinds = st.sampled_from(["wake", "audio.state", "health.beat", "else"])


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=40), max_size=4)
    | st.dictionaries(fields, json_values).map(lambda d: [b"t/", json.dumps(d).encode()])
    | st.tuples(kinds, st.dictionaries(fields, json_values)).map(
        lambda p: [b"t/", json.dumps({**p[1], "v": 1, "type": p[0]}).encode()]
    )
)
def test_whatever_comes_is_an_event_or_counted(frames: list[bytes]) -> None:
    listener = Listener()
    event = listener.parse(frames)
    assert (event is None) == (listener.malformed == 1)
    if event is not None and event["type"] == "wake":
        assert event["name"] and event["end_s"] >= 0


@pytest.mark.skipif(not zmq.has("curve"), reason="libzmq without CURVE")
def test_an_encrypted_bus_is_heard(tmp_path: Path) -> None:
    write_pair(tmp_path / "server", "bus")
    write_pair(tmp_path / "client", "kitchen")
    (tmp_path / "clients").mkdir()
    (tmp_path / "client/kitchen.key").rename(tmp_path / "clients/kitchen.key")
    context: zmq.Context[Any] = zmq.Context()
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    secured = SecuredEndpoint(endpoint, tmp_path / "server/bus.key_secret", tmp_path / "clients")
    kwsd = FakeKwsd(tmp_path, secured=secured)
    known = BridgeSettings(
        bus_endpoint=endpoint,
        curve_key_file=tmp_path / "client/kitchen.key_secret",
        curve_server_key_file=tmp_path / "server/bus.key",
    )
    channel = subscribe(context, known, "health/")
    try:
        assert channel.poll(5_000), "nothing came over the encrypted bus"
        event = Listener().parse(channel.recv_multipart())
        assert event is not None and event["type"] == "health.beat"
    finally:
        channel.close()
        context.term()
        kwsd.close()
    with pytest.raises(MissingFileError, match="keygen"):
        missing = BridgeSettings("", "", tmp_path / "none", tmp_path / "server/bus.key")
        subscribe(zmq.Context.instance(), missing, "")
    with pytest.raises(ConfigError, match="no secret key"):
        public = tmp_path / "server/bus.key"
        subscribe(zmq.Context.instance(), BridgeSettings("", "", public, public), "")
