"""Clients of a bus at an IPv6 address."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import zmq
from fake_kwsd import FakeKwsd

from kwsd.bridge.listener import subscribe
from kwsd.bridge.settings import BridgeSettings
from kwsd.kwsctl import main as kwsctl
from kwsd.sink.curve import SecuredEndpoint
from kwsd.sink.ipv6 import allow_ipv6

EXAMPLE = Path(__file__).parent.parent / "examples/subscribe.py"


@dataclass(frozen=True)
class Served:
    """A daemon at ``[::1]`` and a client that it knows."""

    endpoint: str
    own: Path
    server: Path

    @property
    def options(self) -> list[str]:
        """Of a command."""
        keys = ["--key-file", str(self.own), "--server-key-file", str(self.server)]
        return ["--endpoint", self.endpoint, *keys, "--count", "1", "health/"]


@pytest.fixture
def served(tmp_path: Path, secured: SecuredEndpoint) -> Iterator[Served]:
    if not zmq.has("curve"):
        pytest.skip("libzmq without CURVE")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    endpoint = f"tcp://[::1]:{port}"
    kwsd = FakeKwsd(tmp_path, secured=replace(secured, endpoint=endpoint))
    yield Served(endpoint, tmp_path / "client/kitchen.key_secret", tmp_path / "server/bus.key")
    kwsd.close()


def test_a_bridge_hears(served: Served) -> None:
    context: zmq.Context[Any] = zmq.Context()
    settings = BridgeSettings(served.endpoint, "", served.own, served.server)
    channel = subscribe(context, settings, "health/")
    try:
        assert channel.poll(20_000), "nothing came"
        assert json.loads(channel.recv_multipart()[1])["type"] == "health.beat"
    finally:
        channel.close()
        context.term()


def test_kwsctl_events_hears(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert kwsctl(["events", "--json", "--timeout-s", "20", *served.options]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "health.beat"


def test_the_example_hears(served: Served) -> None:
    heard = subprocess.run(
        [sys.executable, str(EXAMPLE), *served.options],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert heard.stdout.startswith("health/beat/ ")


@pytest.mark.parametrize("endpoint", ["tcp://kitchen.lan:5577", "tcp://127.0.0.1:5577"])
def test_a_name_stays_one_of_ipv4(endpoint: str) -> None:
    # Of a name with both addresses libzmq would try only that of IPv6.
    with zmq.Context() as context, context.socket(zmq.SUB) as channel:
        allow_ipv6(channel, endpoint)
        assert channel.getsockopt(zmq.IPV6) == 0
