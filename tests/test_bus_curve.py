"""The encrypted bus: known clients hear, strangers do not, and mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth
from free_port import free_port

from kwsd.config_schema import BusSettings
from kwsd.errors import ConfigError, MissingFileError
from kwsd.kwsctl import main as kwsctl
from kwsd.sink.curve import SecuredEndpoint, secured_endpoint, write_pair
from kwsd.sink.zmq import BusSink

pytestmark = pytest.mark.skipif(not zmq.has("curve"), reason="libzmq without CURVE")


@pytest.fixture
def secured(tmp_path: Path) -> SecuredEndpoint:
    write_pair(tmp_path / "server", "bus")
    write_pair(tmp_path / "client", "kitchen")
    (tmp_path / "clients").mkdir()
    (tmp_path / "client/kitchen.key").rename(tmp_path / "clients/kitchen.key")
    return SecuredEndpoint(
        f"tcp://127.0.0.1:{free_port()}", tmp_path / "server/bus.key_secret", tmp_path / "clients"
    )


def hears(bus: BusSink, secured: SecuredEndpoint, pair: Path | None) -> bool:
    """Whether a client with this pair, or without encryption, gets a message."""
    context: zmq.Context[Any] = zmq.Context()
    client = context.socket(zmq.SUB)
    client.setsockopt(zmq.SUBSCRIBE, b"")
    if pair is not None:
        public, secret = zmq.auth.load_certificate(str(pair))
        assert secret is not None
        client.setsockopt(zmq.CURVE_PUBLICKEY, public)
        client.setsockopt(zmq.CURVE_SECRETKEY, secret)
        server, _ = zmq.auth.load_certificate(str(secured.key_file.with_suffix(".key")))
        client.setsockopt(zmq.CURVE_SERVERKEY, server)
    client.connect(secured.endpoint)
    try:
        for _ in range(15):
            bus.serve()
            bus.emit({"v": 1, "type": "wake", "name": "computer"})
            if client.poll(100):
                return json.loads(client.recv_multipart()[1])["name"] == "computer"
        return False
    finally:
        client.close(0)
        context.term()


def test_only_known_clients_hear(tmp_path: Path, secured: SecuredEndpoint) -> None:
    write_pair(tmp_path / "stranger", "stranger")
    bus = BusSink(f"ipc://{tmp_path}/e", secured=secured)
    try:
        assert hears(bus, secured, tmp_path / "client/kitchen.key_secret")
        assert not hears(bus, secured, tmp_path / "stranger/stranger.key_secret")
        assert not hears(bus, secured, None)
        (tmp_path / "stranger/stranger.key").rename(tmp_path / "clients/stranger.key")
        bus.reload_clients()
        assert hears(bus, secured, tmp_path / "stranger/stranger.key_secret")
    finally:
        bus.close()


def test_mistakes_are_named(tmp_path: Path, secured: SecuredEndpoint) -> None:
    def fails(kind: type[Exception], words: str, **other: Path) -> None:
        fields = {"key_file": secured.key_file, "clients": secured.clients, **other}
        with pytest.raises(kind, match=words):
            BusSink(f"ipc://{tmp_path}/e", secured=SecuredEndpoint(secured.endpoint, **fields))

    fails(MissingFileError, "kwsctl keygen", key_file=tmp_path / "no.key_secret")
    fails(ConfigError, "holds no secret key", key_file=tmp_path / "server/bus.key")
    fails(ConfigError, "curve_clients_directory", clients=tmp_path / "none")
    (tmp_path / "junk.key_secret").write_text("junk")
    fails(ConfigError, "cannot be read", key_file=tmp_path / "junk.key_secret")
    secured.key_file.chmod(0o644)
    fails(ConfigError, "open to others")


def test_configuration_of_the_endpoint() -> None:
    assert secured_endpoint(BusSettings()) is None
    made = secured_endpoint(BusSettings(tcp_endpoint="tcp://0.0.0.0:5577"))
    assert made is not None and made.endpoint == "tcp://0.0.0.0:5577"
    with pytest.raises(ConfigError, match="bus.tcp_endpoint"):
        secured_endpoint(BusSettings(tcp_endpoint="ipc:///run/x"))


def test_keygen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kwsctl(["keygen", "bus", "--directory", str(tmp_path)]) == 0
    assert (tmp_path / "bus.key_secret").stat().st_mode & 0o777 == 0o600
    assert kwsctl(["keygen", "bus", "--directory", str(tmp_path)]) == 78
    assert "is there already" in capsys.readouterr().err
    assert kwsctl(["keygen", "../bus"]) == 64
