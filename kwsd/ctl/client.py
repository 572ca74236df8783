"""Client of the control socket."""

from __future__ import annotations

from typing import Any

import zmq

from kwsd.control_protocol import decode_answer, encode_request
from kwsd.ctl.connect import connect
from kwsd.errors import BusError
from kwsd.sink.endpoint import places_looked_at

TIMEOUT_S = 5.0
RELOAD_TIMEOUT_S = 30.0
"""Models are opened and proved meanwhile."""


def request(endpoint: str, command: str, timeout_s: float = TIMEOUT_S, **fields: object) -> Any:
    """Ask, and give the result; see `request_audio`."""
    return request_audio(endpoint, command, timeout_s, **fields)[0]


def request_audio(
    endpoint: str, command: str, timeout_s: float = TIMEOUT_S, **fields: object
) -> tuple[Any, bytes]:
    """Ask, and wait for the answer.

    Parameters
    ----------
    endpoint : str
        Control socket.
    command : str
        Such as ``status``.
    timeout_s : float
        Longest wait.
    **fields
        Of the request.

    Returns
    -------
    result : object
        ``result`` of the answer.
    data : bytes
        What came with it.

    Raises
    ------
    BusError
        No daemon answers there, or what answers is none.
    UsageError
        The daemon refused, with its reason; or the endpoint is none.
    """
    context: zmq.Context[Any] = zmq.Context(io_threads=1)
    channel = context.socket(zmq.DEALER)
    channel.setsockopt(zmq.LINGER, 0)
    # Queue nothing for a daemon that is not there.
    channel.setsockopt(zmq.IMMEDIATE, 1)
    channel.setsockopt(zmq.SNDTIMEO, round(timeout_s * 1000))
    try:
        connect(channel, endpoint, "--control", "ipc:///path")
        channel.send(encode_request(command, **fields))
        if not channel.poll(round(timeout_s * 1000), zmq.POLLIN):
            raise _nobody(endpoint, timeout_s)
        frames = channel.recv_multipart()
    except zmq.ZMQError:
        raise _nobody(endpoint, timeout_s) from None
    finally:
        channel.close()
        context.term()
    return decode_answer(frames, endpoint)


def _nobody(endpoint: str, timeout_s: float) -> BusError:
    return BusError(
        f"no kwsd answers at {places_looked_at(endpoint)} within {timeout_s:g} s; is it running "
        "(systemctl status kwsd), and may this user open the socket (group kwsd)?"
    )
