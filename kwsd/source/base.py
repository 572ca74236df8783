"""Source: the protocol of everything that delivers blocks, and what it says about itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from kwsd.block import Block


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source delivers, known before its first block."""

    name: str
    """Name for messages: a path, ``standard input`` or the name of a scene."""

    microphones: int
    """Rows of `Block.mics`, 1 or 2."""

    has_reference: bool
    """True if every block carries a reference."""

    sample_rate_hz: int
    """Rate before resampling."""

    channels: int
    """Channels before mapping."""

    duration_s: float | None
    """Length in seconds; None where it is not known beforehand (a pipe)."""


class Source(Protocol):
    """A stream of blocks at 16 kHz, without holes except where `Block.gap` says so."""

    @property
    def info(self) -> SourceInfo:
        """What the blocks hold."""

    def blocks(self) -> Iterator[Block]:
        """Blocks in stream order; can be called once."""

    def close(self) -> None:
        """Release files and devices; may be called twice."""
