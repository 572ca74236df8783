"""Cuts a stream of blocks of any length into blocks of one fixed length.

All stages behind it see the same blocks however the source cut the audio; that is what makes
live and replay, and any two block sizes, equal bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.block import Block

FloatArray = NDArray[np.float32]


def join_channels(block: Block, microphones: int, has_reference: bool) -> FloatArray:
    """Channels of a block under each other, float32 [microphones + 1, n].

    Raises
    ------
    ValueError
        The block has another number of microphones, or a reference of another length.
    """
    if block.mics.shape[0] != microphones:
        raise ValueError(
            f"block has {block.mics.shape[0]} microphones, front end has {microphones}"
        )
    reference = block.reference if has_reference else None
    if reference is None:
        reference = np.zeros(block.samples, np.float32)
    if reference.shape != (block.samples,):
        raise ValueError(
            f"reference of a block has shape {reference.shape}, must be ({block.samples},)"
        )
    return np.concatenate([block.mics, reference[None]]).astype(np.float32, copy=False)


class Reblock:
    """FIFO over channels.

    Parameters
    ----------
    channels : int
        Rows.
    samples : int
        Length of the blocks that come out.
    """

    def __init__(self, channels: int, samples: int) -> None:
        self._samples = samples
        self._held = np.zeros((channels, 0), np.float32)

    @property
    def held_samples(self) -> int:
        """Samples that wait for a full block."""
        return int(self._held.shape[1])

    def reset(self) -> None:
        """Drop what is held."""
        self._held = self._held[:, :0]

    def push(self, block: FloatArray) -> list[FloatArray]:
        """Take float32 [channels, any]; give full blocks float32 [channels, samples]."""
        held = np.concatenate([self._held, block], axis=1)
        full = held.shape[1] // self._samples * self._samples
        self._held = held[:, full:].copy()
        return [held[:, start : start + self._samples] for start in range(0, full, self._samples)]
