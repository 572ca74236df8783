"""Re-blocking: whatever a source delivers, the chain sees blocks of one size.

The metrics of the front end are per block; on a fixed grid they, and the events that carry them, do
not depend on the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from kwsd.block import BLOCK_SAMPLES, Block


class Reblocker:
    """Cuts blocks of any size into blocks of one size; one before a gap may be shorter.

    Parameters
    ----------
    block_samples : int
        That size.
    """

    def __init__(self, block_samples: int = BLOCK_SAMPLES) -> None:
        self._size = block_samples
        self._held: Block | None = None
        self._next_sample: int | None = None

    def process(self, block: Block) -> Iterator[Block]:
        """Take a block, give those that it completes; a jump in position counts as a gap."""
        if self._next_sample is not None and block.start_sample != self._next_sample:
            block = replace(block, gap=True)
        self._next_sample = block.start_sample + block.samples
        held = self._held
        if held is None and block.samples == self._size:
            yield block
            return
        if block.gap or held is None:
            yield from self.flush()
            joined = block
        else:
            joined = _join(held, block)
        position = 0
        while joined.samples - position >= self._size:
            yield _cut(joined, position, position + self._size)
            position += self._size
        self._held = _cut(joined, position, joined.samples) if position < joined.samples else None

    def flush(self) -> Iterator[Block]:
        """The incomplete block that is held, if any."""
        held, self._held = self._held, None
        if held is not None:
            yield held


def _cut(block: Block, start: int, end: int) -> Block:
    reference = None if block.reference is None else block.reference[start:end]
    return Block(
        block.start_sample + start,
        np.ascontiguousarray(block.mics[:, start:end]),
        reference,
        gap=block.gap and start == 0,
    )


def _join(first: Block, second: Block) -> Block:
    reference = None
    if first.reference is not None and second.reference is not None:
        reference = np.concatenate([first.reference, second.reference])
    mics = np.concatenate([first.mics, second.mics], axis=1)
    return Block(first.start_sample, mics, reference, gap=first.gap)
