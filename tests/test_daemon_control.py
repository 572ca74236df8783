"""The control socket: every request gets an answer, and hostile ones do no harm."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kwsd.ctl.client import request
from kwsd.daemon.control import LARGEST_REQUEST_BYTES, ControlServer
from kwsd.errors import BusError, ConfigError, UsageError


def add(fields: Mapping[str, Any]) -> object:
    if not isinstance(fields.get("a"), int):
        raise UsageError("a: must be a number")
    return fields["a"] + 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ControlServer]:
    made = ControlServer(f"ipc://{tmp_path}/c", {"add": add})
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.005):
            made.serve()

    thread = threading.Thread(target=loop)
    thread.start()
    yield made
    stop.set()
    thread.join()
    made.close()


def test_dealer_and_req_clients_are_answered(server: ControlServer) -> None:
    assert request(server.endpoint, "add", a=1) == 2
    context: zmq.Context[Any] = zmq.Context()
    client = context.socket(zmq.REQ)
    client.connect(server.endpoint)
    client.send(b'{"command": "add", "a": 2}')
    assert json.loads(client.recv()) == {"v": 1, "ok": True, "result": 3}
    client.close(0)
    context.term()


def test_refusals_say_why(server: ControlServer) -> None:
    with pytest.raises(UsageError, match="must be a number"):
        request(server.endpoint, "add")
    with pytest.raises(UsageError, match="there are add"):
        request(server.endpoint, "multiply")
    with pytest.raises(UsageError, match="version 2"):
        request(server.endpoint, "add", v=2)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(BusError, match="no kwsd answers"):
        request(f"ipc://{tmp_path}/none", "status", timeout_s=0.1)


def test_a_second_server_is_refused(server: ControlServer) -> None:
    with pytest.raises(BusError, match="in use by another kwsd"):
        ControlServer(server.endpoint, {})


@pytest.mark.parametrize("place", ["tcp://0.0.0.0:5578", "tcp://127.0.0.1:5578", "ipc://@kwsd"])
def test_only_a_path_may_command(place: str) -> None:
    with pytest.raises(ConfigError, match=r"bus\.control_endpoint = .*: must be ipc:///path"):
        ControlServer(place, {})


def test_a_file_at_its_path_stays(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("precious")
    with pytest.raises(ConfigError, match="is not a socket"):
        ControlServer(f"ipc://{tmp_path}/c", {})
    assert (tmp_path / "c").read_text() == "precious"


def test_a_service_that_strangers_could_command_does_not_start(
    kwsd_command: list[str], tmp_path: Path
) -> None:
    settings = ["--set", f"bus.endpoint=ipc://{tmp_path}/e"]
    settings += ["--set", "bus.control_endpoint=tcp://0.0.0.0:5578"]
    done = subprocess.run(
        [*kwsd_command, *settings], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 78, done.stderr
    assert "must be ipc:///path" in done.stderr


def test_an_oversized_request_ends_that_client_only(server: ControlServer) -> None:
    context: zmq.Context[Any] = zmq.Context()
    client = context.socket(zmq.DEALER)
    client.connect(server.endpoint)
    client.send(b"[" * (LARGEST_REQUEST_BYTES + 1))
    assert not client.poll(200)
    assert request(server.endpoint, "add", a=5) == 6
    client.close(0)
    context.term()


@given(st.lists(st.binary(max_size=40), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_bytes_get_an_error_answer(server: ControlServer, frames: list[bytes]) -> None:
    (answer,) = server.answer(frames)
    assert answer["ok"] is False and answer["error"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=10,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_json_gets_an_answer(server: ControlServer, value: object) -> None:
    (answer,) = server.answer([json.dumps(value).encode()])
    assert answer["v"] == 1 and isinstance(answer["ok"], bool)
    json.dumps(answer, allow_nan=False)
