"""What goes over the control socket: questions, answers, and what is neither.

One JSON object a message: ``{"v": 1, "command": …, …}`` there, and back
``{"v": 1, "ok": true, "result": …}`` or ``{"v": 1, "ok": false, "error": …}``; audio follows in
frames behind it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kwsd.errors import BusError, UsageError

CONTROL_VERSION = 1

CONFIGURED = "configured"
"""In place of a sensitivity: what was set is dropped, the configuration counts again."""


def encode_request(command: str, **fields: object) -> bytes:
    """The message that asks for a command."""
    return json.dumps({"v": CONTROL_VERSION, "command": command, **fields}).encode()


def decode_answer(frames: Sequence[bytes], endpoint: str) -> tuple[Any, bytes]:
    """What a daemon answered.

    Parameters
    ----------
    frames : sequence of bytes
        Of the answer.
    endpoint : str
        Where it came from, for messages.

    Returns
    -------
    result : object
        ``result`` of the answer.
    data : bytes
        What came with it.

    Raises
    ------
    UsageError
        The daemon refused, with its reason.
    BusError
        This is no answer of a daemon.
    """
    body, *data = frames
    try:
        answer = json.loads(body)
        good = bool(answer["ok"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        raise BusError(f"what answers at {endpoint} is not kwsd") from None
    if not good:
        raise UsageError(str(answer.get("error", "refused without a reason")))
    return answer.get("result"), b"".join(data)
