"""Channels of a block as both front ends take them: microphones, then the reference."""

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
