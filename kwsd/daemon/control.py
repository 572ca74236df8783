"""Control socket: requests of operators and scripts, each answered, whatever it holds.

A ROUTER socket takes what `kwsd.control_protocol` says from REQ and DEALER
clients. A client that does not take its answer loses it; nobody waits for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import zmq

from kwsd.control_protocol import CONTROL_VERSION
from kwsd.errors import BusError, KwsdError, UsageError
from kwsd.sink.endpoint import check_control_endpoint
from kwsd.sink.socket_lock import SocketLock

log = logging.getLogger(__name__)

_POLLIN = int(zmq.POLLIN)
LARGEST_REQUEST_BYTES = 16_384
REQUESTS_AT_ONCE = 16
"""Answered between two deliveries of audio: a flood of requests must not make the daemon deaf."""

Command = Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A result with bytes that JSON cannot hold; they go in a second frame."""

    result: object
    data: bytes


class ControlServer:
    """Answers requests.

    Parameters
    ----------
    endpoint : str
        ``ipc://`` path; whoever may open the socket may command.
    commands : mapping of str to callable
        Each takes the request's fields and gives something that JSON can hold; a `KwsdError`
        becomes the error of the answer.

    Raises
    ------
    ConfigError
        The endpoint is not a path, or something else than a socket is there.
    BusError
        The endpoint cannot be bound, or another daemon has it.
    """

    def __init__(self, endpoint: str, commands: Mapping[str, Command]) -> None:
        check_control_endpoint(endpoint)
        self.endpoint = endpoint
        self._commands = dict(commands)
        self._lock = SocketLock("bus.control_endpoint", endpoint)
        self._open()

    def _open(self) -> None:
        self._context: zmq.Context[Any] = zmq.Context(io_threads=1)
        self._socket: zmq.Socket[Any] = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.SNDHWM, 16)
        self._socket.setsockopt(zmq.RCVHWM, 64)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LARGEST_REQUEST_BYTES)
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise BusError(
                f"bus.control_endpoint = {self.endpoint} cannot be bound: {error.strerror}"
            ) from None

    def serve(self) -> None:
        """Answer what has come; never waits."""
        for _ in range(REQUESTS_AT_ONCE):
            if not int(self._socket.get(zmq.EVENTS)) & _POLLIN:
                return
            frames = self._socket.recv_multipart()
            # A REQ client puts an empty frame between its address and the message.
            split = 2 if len(frames) > 2 and frames[1] == b"" else 1
            answer, *data = self.answer(frames[split:])
            body = json.dumps(answer, allow_nan=False).encode()
            try:
                self._socket.send_multipart([*frames[:split], body, *data], zmq.DONTWAIT)
            except zmq.ZMQError as error:
                log.info("an answer could not be delivered: %s", error.strerror)

    def answer(self, frames: list[bytes]) -> tuple[dict[str, Any], *tuple[bytes, ...]]:
        """The answer to the frames behind the address: an object, perhaps bytes."""
        try:
            result = self._run(frames)
        except KwsdError as error:
            return ({"v": CONTROL_VERSION, "ok": False, "error": " ".join(str(error).split())},)
        answer = {"v": CONTROL_VERSION, "ok": True, "result": result}
        if isinstance(result, Attachment):
            return ({**answer, "result": result.result}, result.data)
        return (answer,)

    def _run(self, frames: list[bytes]) -> object:
        if len(frames) != 1:
            raise UsageError(f"a request is one frame, this one has {len(frames)}")
        try:
            request = json.loads(frames[0])
        except (ValueError, RecursionError):
            raise UsageError('a request is a JSON object such as {"command": "status"}') from None
        if not isinstance(request, dict):
            raise UsageError("a request is a JSON object, this one is another JSON value")
        version = request.get("v", CONTROL_VERSION)
        if version != CONTROL_VERSION:
            raise UsageError(f"request version {version!r} is not known; use {CONTROL_VERSION}")
        name = request.get("command")
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            known = ", ".join(sorted(self._commands))
            raise UsageError(f"command {str(name)[:40]!r} is not known; there are {known}")
        return command(request)

    def drop_connections(self) -> None:
        """Close all of them, with whatever they hold but answers; raises `BusError`."""
        self._shut()
        self._open()

    def close(self) -> None:
        """Release the endpoint."""
        self._shut()
        self._lock.release()

    def _shut(self) -> None:
        if not self._socket.closed:
            self._socket.close()
            self._context.term()
