"""Pipe source: a WAV that arrives on standard input or through a named pipe, as it arrives.

Events come out while the recorder at the other end still runs. Plain PCM and float encodings are
read; a header that leaves its length open (from a recorder that cannot seek back) means "until the
pipe closes".
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from kwsd.block import Block, FloatArray
from kwsd.errors import AudioError
from kwsd.source.base import SourceInfo
from kwsd.source.channels import map_channels
from kwsd.source.condition import check_rate, chunk_frames, to_blocks
from kwsd.source.low_24_wav import low_24_bits
from kwsd.source.wav_header import (
    FORMAT_FLOAT,
    FORMAT_PCM,
    WavHeader,
    check_complete,
    read_wav_header,
    truncated,
)

_ENCODINGS = {
    (FORMAT_PCM, 8),
    (FORMAT_PCM, 16),
    (FORMAT_PCM, 24),
    (FORMAT_PCM, 32),
    (FORMAT_FLOAT, 32),
    (FORMAT_FLOAT, 64),
}


class PipeSource:
    """Blocks of a WAV stream.

    Parameters
    ----------
    stream : binary file
        At the first byte of the WAV.
    name : str
        How messages call it.
    mics, reference : tuple of int, optional
        See `kwsd.source.channels.map_channels`.

    Raises
    ------
    AudioError
        Not a WAV, or an encoding that only a file can hold.
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        mics: tuple[int, ...] | None = None,
        reference: tuple[int, ...] | None = None,
    ) -> None:
        self._stream = stream
        self._name = name
        self._header = header = read_wav_header(stream, name)
        plain = header.frame_bytes == header.channels * header.bits // 8
        encoding = (header.format_tag, header.bits)
        if encoding not in _ENCODINGS or not (plain or header.is_low_24):
            raise AudioError(
                f"{name}: WAV encoding {header.format_tag} with {header.bits} bits cannot be read "
                "from a pipe; store it in a file or send 16-bit PCM"
            )
        # Behind a size of zero there may be samples; without any it is said at the end.
        self._data_bytes = header.data_bytes or None
        check_rate(header.sample_rate_hz, name)
        self._map = map_channels(header.channels, mics, reference)
        size = _regular_file_bytes(stream)
        if size is not None:
            check_complete(header, size, name)

    @classmethod
    def standard_input(
        cls, mics: tuple[int, ...] | None = None, reference: tuple[int, ...] | None = None
    ) -> PipeSource:
        """The WAV on standard input."""
        if sys.stdin is None or sys.stdin.closed:
            raise AudioError("standard input is closed; send a WAV to it or name a file")
        if sys.stdin.isatty():
            raise AudioError(
                "standard input is a terminal; send a WAV to it: kwsd --replay - < file.wav"
            )
        return cls(sys.stdin.buffer, "standard input", mics, reference)

    @property
    def info(self) -> SourceInfo:
        """See `kwsd.source.base.Source`."""
        header = self._header
        return SourceInfo(
            name=self._name,
            microphones=len(self._map.mics),
            has_reference=self._map.reference is not None,
            sample_rate_hz=header.sample_rate_hz,
            channels=header.channels,
            duration_s=(
                None if self._data_bytes is None else self._data_bytes / header.bytes_per_second
            ),
        )

    def blocks(self) -> Iterator[Block]:
        """See `kwsd.source.base.Source`."""
        return to_blocks(self._chunks(), self._map, self._header.sample_rate_hz, self._name)

    def _chunks(self) -> Iterator[FloatArray]:
        header, promised = self._header, self._data_bytes
        wanted = chunk_frames(header.sample_rate_hz) * header.frame_bytes
        received = 0
        while promised is None or received < promised:
            left = wanted if promised is None else min(wanted, promised - received)
            data = self._read(left)
            received += len(data)
            whole = len(data) - len(data) % header.frame_bytes
            if whole:
                yield decode_pcm(data[:whole], header)
            if len(data) < left:
                break
        if promised is not None and received < promised:
            raise truncated(header, received, self._name)
        if received < header.frame_bytes:
            raise AudioError(f"{self._name} holds no audio: 0 samples")

    def _read(self, count: int) -> bytes:
        try:
            return self._stream.read(count)
        except OSError as error:
            raise AudioError(f"{self._name} cannot be read: {error.strerror or error}") from None

    def close(self) -> None:
        """See `kwsd.source.base.Source`."""
        if self._stream is not getattr(sys.stdin, "buffer", None):
            self._stream.close()


def decode_pcm(data: bytes, header: WavHeader) -> FloatArray:
    """Samples of a chunk, scaled as libsndfile scales them.

    Parameters
    ----------
    data : bytes
        Whole frames.
    header : WavHeader
        Encoding and channels.

    Returns
    -------
    ndarray, float32 [frames, channels]
        Full scale 1.0.
    """
    if header.format_tag == FORMAT_FLOAT:
        with np.errstate(over="ignore"):
            samples = np.frombuffer(data, f"<f{header.bits // 8}").astype(np.float32)
    elif header.bits == 8:
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) / 128.0
    elif header.is_low_24:
        samples = low_24_bits(data)
    elif header.bits == 24:
        # Three bytes become the upper three of an int32, so that the sign comes for free.
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = padded.view("<i4")[:, 0].astype(np.float32) / 2.0**31
    else:
        samples = np.frombuffer(data, f"<i{header.bits // 8}").astype(np.float32)
        samples /= 2.0 ** (header.bits - 1)
    return np.asarray(samples, np.float32).reshape(-1, header.channels)


def _regular_file_bytes(stream: BinaryIO) -> int | None:
    """Size of the file behind a stream that was read from its start; None for a pipe."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
