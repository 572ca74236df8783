"""Conditioning: decoded chunks of a recording, checked, resampled and cut into blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from kwsd.block import BLOCK_SAMPLES, LARGEST_SAMPLE, Block, FloatArray
from kwsd.errors import AudioError
from kwsd.source.channels import ChannelMap
from kwsd.source.resample import Resampler

MIN_RATE_HZ = 4_000
MAX_RATE_HZ = 768_000


def check_rate(rate_hz: int, name: str) -> None:
    """Refuse rates outside `MIN_RATE_HZ` to `MAX_RATE_HZ` with an `AudioError`."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(
            f"{name} has a sample rate of {rate_hz} Hz; "
            f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz can be read"
        )


def chunk_frames(rate_hz: int) -> int:
    """Frames to decode at a time: about a quarter of a second, whatever the rate."""
    return max(256, rate_hz // 4)


def to_blocks(
    chunks: Iterable[FloatArray], channel_map: ChannelMap, rate_hz: int, name: str
) -> Iterator[Block]:
    """Turn decoded audio into blocks of 30 ms at 16 kHz; the last one may be shorter.

    Parameters
    ----------
    chunks : iterable of ndarray, float32 [frames, channels]
        All channels as stored, full scale 1.0.
    channel_map : ChannelMap
        Which of them to use.
    rate_hz : int
        Their sample rate.
    name : str
        How messages call the recording.

    Yields
    ------
    Block

    Raises
    ------
    AudioError
        A sample in use is not a number or far beyond full scale.
    """
    columns = list(channel_map.channels)
    resampler = Resampler(rate_hz, len(columns))
    held = np.zeros((0, len(columns)), np.float32)
    position = 0

    def cut(fresh: FloatArray, everything: bool) -> Iterator[Block]:
        nonlocal held, position
        held = np.concatenate([held, fresh])
        whole = len(held) if everything else len(held) - len(held) % BLOCK_SAMPLES
        for start in range(0, whole, BLOCK_SAMPLES):
            mics, reference = channel_map.split(held[start : min(start + BLOCK_SAMPLES, whole)])
            yield Block(position, mics, reference)
            position += mics.shape[1]
        held = held[whole:].copy()

    decoded = 0
    for chunk in chunks:
        selected = np.ascontiguousarray(chunk[:, columns], np.float32)
        _check_values(selected, columns, decoded, rate_hz, name)
        decoded += len(selected)
        yield from cut(resampler.process(selected), everything=False)
    yield from cut(resampler.flush(), everything=True)


def _check_values(
    selected: FloatArray, columns: list[int], first: int, rate_hz: int, name: str
) -> None:
    if bool((np.abs(selected) <= LARGEST_SAMPLE).all()):
        return
    row, column = np.argwhere(~(np.abs(selected) <= LARGEST_SAMPLE))[0]
    value = float(selected[row, column])
    sample = first + int(row)
    where = f"sample {sample} ({sample / rate_hz:.3f} s) of channel {columns[int(column)]}"
    if np.isfinite(value):
        raise AudioError(
            f"{name}: {where} is {value:g}; full scale is 1.0, at most {LARGEST_SAMPLE:g} is read"
        )
    raise AudioError(
        f"{name}: {where} is {value}, not a number that can be played; repair the file"
    )
