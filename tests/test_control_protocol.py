"""What goes over the control socket: whatever answers, a client ends with a reason."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from kwsd.control_protocol import CONTROL_VERSION, decode_answer, encode_request
from kwsd.ctl.client import request
from kwsd.errors import BusError, KwsdError, UsageError
from kwsd.kwsctl import main as kwsctl

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(("ok",)), inner),
)


def test_answers_of_a_daemon() -> None:
    good = json.dumps({"v": CONTROL_VERSION, "ok": True, "result": [1]}).encode()
    assert decode_answer([good, b"ab", b"c"], "ipc:///c") == ([1], b"abc")
    with pytest.raises(UsageError, match="no such keyword"):
        decode_answer([b'{"ok": false, "error": "no such keyword"}'], "ipc:///c")
    assert json.loads(encode_request("set", keyword="a")) == {
        "v": CONTROL_VERSION,
        "command": "set",
        "keyword": "a",
    }


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_answer_is_a_traceback(body: bytes) -> None:
    try:
        decode_answer([body], "ipc:///c")
    except KwsdError:
        pass


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Something else than kwsd on a socket: its endpoint, and what it answers next."""
    answers: list[bytes] = []
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.RCVTIMEO, 20)
    socket.bind(f"ipc://{tmp_path}/c")
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                address, *_ = socket.recv_multipart()
            except zmq.Again:
                continue
            socket.send_multipart([address, answers.pop(0)])

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"ipc://{tmp_path}/c", answers
    stop.set()
    thread.join()
    socket.close(0)
    context.term()


def test_something_else_on_the_socket_is_told(
    stranger: tuple[str, list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint, answers = stranger
    for body in (b"hello", b"[1]", b'"ok"', b"{}", b"\xff", b"[" * 100_000):
        answers.append(body)
        assert kwsctl(["--control", endpoint, "status"]) == 69
        assert capsys.readouterr().err == f"kwsctl: error: what answers at {endpoint} is not kwsd\n"


def test_no_daemon_at_all_is_another_reason(tmp_path: Path) -> None:
    with pytest.raises(BusError, match="no kwsd answers at .* within 0.1 s"):
        request(f"ipc://{tmp_path}/c", "status", timeout_s=0.1)
