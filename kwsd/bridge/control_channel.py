"""Questions to the daemon's control socket from an asyncio program."""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
import zmq.asyncio

from kwsd.control_protocol import decode_answer, encode_request
from kwsd.errors import BusError
from kwsd.sink.endpoint import places_looked_at


class ControlChannel:
    """A connection that is kept, since a stream asks many times a second.

    Parameters
    ----------
    context : zmq.asyncio.Context
        Context.
    endpoint : str
        Control socket.
    timeout_s : float
        Longest wait for an answer.
    """

    def __init__(self, context: zmq.asyncio.Context, endpoint: str, timeout_s: float = 2.0) -> None:
        self._context = context
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._channel: zmq.asyncio.Socket | None = None
        self._turn = asyncio.Lock()

    async def ask(self, command: str, **fields: object) -> tuple[Any, bytes]:
        """The result of a command and the bytes that came with it.

        Raises
        ------
        BusError
            No daemon answers, or it answers nonsense.
        UsageError
            The daemon refused, with its reason.
        """
        message = encode_request(command, **fields)
        async with self._turn:
            try:
                frames = await asyncio.wait_for(self._exchange(message), self._timeout_s)
                return decode_answer(frames, self._endpoint)
            except (TimeoutError, zmq.ZMQError):
                self.close()
                raise BusError(f"no kwsd answers at {places_looked_at(self._endpoint)}") from None
            except asyncio.CancelledError:
                # The answer would come to the next question.
                self.close()
                raise
            except BusError:
                self.close()
                raise

    async def _exchange(self, message: bytes) -> list[bytes]:
        if self._channel is None:
            channel = self._context.socket(zmq.DEALER)
            channel.setsockopt(zmq.LINGER, 0)
            # Queue nothing for a daemon that is not there.
            channel.setsockopt(zmq.IMMEDIATE, 1)
            channel.connect(self._endpoint)
            self._channel = channel
        await self._channel.send(message)
        return list(await self._channel.recv_multipart())

    def close(self) -> None:
        """Drop the connection; the next question makes a new one."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
