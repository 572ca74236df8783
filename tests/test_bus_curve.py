"""The encrypted bus: known clients hear, strangers do not, and mistakes are named."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth
from other_user import closed_folder, other_user

from kwsd.config_schema import BusSettings
from kwsd.errors import ConfigError, MissingFileError
from kwsd.kwsctl import main as kwsctl
from kwsd.sink import curve
from kwsd.sink.curve import CurveGate, SecuredEndpoint, secured_endpoint, write_pair
from kwsd.sink.zmq import BusSink

pytestmark = pytest.mark.skipif(not zmq.has("curve"), reason="libzmq without CURVE")


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


def half(key: Path) -> str:
    """A copy that ends within the last key."""
    return key.read_text()[:-20]


@pytest.mark.parametrize("kind", ["half", "empty", "cut", "folder"])
def test_one_bad_key_refuses_the_start(tmp_path: Path, secured: SecuredEndpoint, kind: str) -> None:
    bad = secured.clients / "bad.key"
    if kind == "folder":
        bad.mkdir()
    else:
        texts = {"half": half(secured.clients / "kitchen.key"), "empty": "", "cut": "public-key"}
        bad.write_text(texts[kind])
    with pytest.raises(ConfigError, match=r"bad\.key cannot be read: .*; copy it again"):
        BusSink(f"ipc://{tmp_path}/e", secured=secured)


def test_a_refused_reload_changes_nothing_and_the_next_revokes(
    tmp_path: Path, secured: SecuredEndpoint
) -> None:
    bus = BusSink(f"ipc://{tmp_path}/e", secured=secured)
    try:
        (secured.clients / "bad.key").touch()
        with pytest.raises(ConfigError, match=r"bad\.key"):
            bus.reload_clients()
        assert hears(bus, secured, tmp_path / "client/kitchen.key_secret")
        (secured.clients / "bad.key").unlink()
        (secured.clients / "kitchen.key").unlink()
        bus.reload_clients()
        assert not hears(bus, secured, tmp_path / "client/kitchen.key_secret")
    finally:
        bus.close()


def test_keys_are_counted_not_files(
    tmp_path: Path, secured: SecuredEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(secured.clients / "kitchen.key", secured.clients / "again.key")
    # Of an editor or of a copy under way; never read.
    (secured.clients / ".kitchen.key").touch()
    with caplog.at_level(logging.INFO, "kwsd.sink.curve"):
        BusSink(f"ipc://{tmp_path}/e", secured=secured).close()
    assert caplog.messages == ["1 clients may use the encrypted bus"]


def test_what_the_daemon_may_not_read_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import zmq.auth.thread  # noqa: F401 - the other user may not read where it is installed

    def fails(words: str) -> None:
        with other_user(), pytest.raises(ConfigError, match=words):
            CurveGate(SecuredEndpoint("tcp://127.0.0.1:1", key_file, clients))

    with closed_folder() as (folder, _):
        monkeypatch.setattr(curve, "SYSTEM_DIRECTORY", folder)
        clients = folder / "clients"
        write_pair(clients, "kitchen")
        key_file = write_pair(folder, "bus")[1]
        fails(r"curve_key_file = .* chgrp \S+ \S+bus\.key_secret && chmod 640")
        folder.chmod(0o755)
        os.chown(key_file, 0, 0)
        clients.chmod(0o700)
        fails(r"curve_clients_directory = .* chgrp \S+ \S+clients && chmod 750")
        clients.chmod(0o755)
        (clients / "kitchen.key").chmod(0o600)
        fails(r"curve_clients_directory: .* chgrp \S+ \S+kitchen\.key && chmod 640")


def test_mistakes_are_named(tmp_path: Path, secured: SecuredEndpoint) -> None:
    def fails(kind: type[Exception], words: str, **other: Path) -> None:
        fields = {"key_file": secured.key_file, "clients": secured.clients, **other}
        with pytest.raises(kind, match=words):
            BusSink(f"ipc://{tmp_path}/e", secured=SecuredEndpoint(secured.endpoint, **fields))

    fails(MissingFileError, "kwsctl keygen", key_file=tmp_path / "no.key_secret")
    fails(ConfigError, "holds no secret key", key_file=tmp_path / "server/bus.key")
    fails(ConfigError, "curve_clients_directory", clients=tmp_path / "none")
    for junk in ("junk", "public-key", half(secured.key_file)):
        (tmp_path / "junk.key_secret").write_text(junk)
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
    # Whatever the folder's group: it need not be the daemon's.
    assert (tmp_path / "bus.key_secret").stat().st_mode & 0o777 == 0o600
    assert kwsctl(["keygen", "bus", "--directory", str(tmp_path)]) == 78
    assert "is there already" in capsys.readouterr().err
    assert kwsctl(["keygen", "../bus"]) == 64


def test_half_a_pair_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: str, name: str) -> None:
        (Path(folder) / f"{name}.key").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("zmq.auth.create_certificates", full)
    with pytest.raises(ConfigError, match="No space left"):
        write_pair(tmp_path, "lamp")
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_root_makes_is_for_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_folder() as (folder, group):
        monkeypatch.setattr(curve, "SYSTEM_DIRECTORY", folder)
        assert kwsctl(["keygen", "bus", "--directory", str(folder)]) == 0
        secret = folder / "bus.key_secret"
        assert (secret.owner(), secret.group()) == ("root", group)
        assert secret.stat().st_mode & 0o777 == 0o640
