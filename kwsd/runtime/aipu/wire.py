"""Messages between parent and engine: one a packet, little and fixed on the way of a step.

The tensors themselves are in shared memory; whoever receives a message owns them until it answers.
Neither numpy nor ctypes here: the engine's start is part of every recovery.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

LARGEST_BYTES = 60_000
ALIGNMENT = 64
GUARD = b"\xa5" * 16
"""Follows every tensor in shared memory; changed means that somebody wrote too far."""

_STEP = struct.Struct("<cIi")
_DONE = struct.Struct("<cIIIII")
_EVENT = struct.Struct("<cI")

OPEN, STEP, CLOSE = b"O", b"S", b"C"
READY, FAILED, DONE, COLLECTED, STUCK, CLOSED = b"R", b"F", b"D", b"L", b"K", b"X"


@dataclass(frozen=True, slots=True)
class Slot:
    """Place of one tensor in shared memory."""

    offset: int
    """Bytes from the start."""

    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What the engine needs to start."""

    library: str
    """Driver library."""

    graph: str
    """Graph file."""

    inputs: list[Slot]
    """In the graph's order."""

    outputs: list[Slot]
    """In the graph's order."""

    memory_bytes: int
    """Size of the shared memory."""

    grace_ms: int
    """How long to wait for a job that missed its time limit."""


@dataclass(frozen=True, slots=True)
class StepReply:
    """The end of one step."""

    sequence: int
    """Number of the request."""

    status: int
    """Status word of the driver, 0 for success."""

    state: int
    """0, or 1 if the job may still run and the engine waits for it."""

    job_us: int
    """Time inside finish_job."""

    retries: int
    """Jobs that were replaced on the way."""


def layout(input_bytes: list[int], output_bytes: list[int]) -> tuple[list[Slot], list[Slot], int]:
    """Places for tensors of these sizes, each aligned and followed by a guard."""
    slots, offset = [], 0
    for size in (*input_bytes, *output_bytes):
        slots.append(Slot(offset, size))
        end = offset + size + len(GUARD)
        offset = (end + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    return slots[: len(input_bytes)], slots[len(input_bytes) :], max(offset, ALIGNMENT)


def pack_open(request: OpenRequest) -> bytes:
    """Start."""
    return OPEN + json.dumps(asdict(request)).encode()


def unpack_open(message: bytes) -> OpenRequest:
    """Reverse of `pack_open`."""
    fields = json.loads(message[1:])
    for name in ("inputs", "outputs"):
        fields[name] = [Slot(**slot) for slot in fields[name]]
    return OpenRequest(**fields)


def pack_step(sequence: int, timeout_ms: int) -> bytes:
    """Run the inputs that are in memory."""
    return _STEP.pack(STEP, sequence, timeout_ms)


def unpack_step(message: bytes) -> tuple[int, int]:
    """Sequence and time limit in ms."""
    _, sequence, timeout_ms = _STEP.unpack(message)
    return sequence, timeout_ms


def pack_done(reply: StepReply) -> bytes:
    """End of a step."""
    return _DONE.pack(DONE, reply.sequence, reply.status, reply.state, reply.job_us, reply.retries)


def unpack_done(message: bytes) -> StepReply:
    """Reverse of `pack_done`."""
    return StepReply(*_DONE.unpack(message)[1:])


def pack_event(kind: bytes, value: int) -> bytes:
    """A late job was collected, or never came."""
    return _EVENT.pack(kind, value)


def pack_table(kind: bytes, **fields: Any) -> bytes:
    """A message that is sent once in an engine's life."""
    return kind + json.dumps(fields).encode()


def unpack_table(message: bytes) -> dict[str, Any]:
    """Reverse of `pack_table`."""
    return dict(json.loads(message[1:]))
