"""WAV header: what a RIFF file promises, checked against what is there.

libsndfile reads a file that was cut short without a word; this check finds it before anything is
processed. It also lets a WAV be read from a pipe, which libsndfile cannot seek in.

Layout: "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, WAVE_FORMAT_EXTENSIBLE
from the later Windows documentation); RF64 with its ``ds64`` chunk: EBU Tech 3306.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from kwsd.errors import AudioError

FORMAT_PCM = 1
FORMAT_FLOAT = 3
_FORMAT_EXTENSIBLE = 0xFFFE

# Recorders that write to a pipe cannot come back to fill in the size: arecord, sox and ffmpeg leave
# numbers from here on, others zero.
UNKNOWN_SIZE_FROM = 0x7FFF_0000

_MAX_HEADER_BYTES = 1 << 20

LARGEST_WAV_BYTES = 2**32 - 2**20
"""What a file that is written may hold: its sizes have 32 bits; less some room for the header."""


@dataclass(frozen=True, slots=True)
class WavHeader:
    """The part of a WAV file before its samples."""

    format_tag: int
    """Encoding: 1 PCM, 3 float, others are left to libsndfile."""

    channels: int
    """Interleaved channels, at least 1."""

    sample_rate_hz: int
    """Frames per second."""

    bits: int
    """Bits of one sample as stored."""

    frame_bytes: int
    """Bytes of one sample of all channels."""

    bytes_per_second: int
    """Mean data rate."""

    data_offset: int
    """Bytes from the start of the file to the first sample."""

    data_bytes: int | None
    """Size of the sample data that the header promises; None if it leaves it open, as 0 may do."""

    @property
    def is_low_24(self) -> bool:
        """Whether 24 bits are the lower ones of four bytes, as ALSA's S24_LE has them."""
        low = self.format_tag == FORMAT_PCM and self.bits == 24
        return low and self.frame_bytes == 4 * self.channels


def looks_like_wav(head: bytes) -> bool:
    """True for the first 12 bytes of a little-endian RIFF or RF64 WAVE file."""
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def read_wav_header(stream: BinaryIO, name: str) -> WavHeader:
    """Read up to the first sample.

    Parameters
    ----------
    stream : binary file
        At the first byte; needs `read` only, so a pipe will do. Left at the first sample.
    name : str
        How messages call the stream.

    Returns
    -------
    WavHeader

    Raises
    ------
    AudioError
        Not a WAV, no samples, or a format field that cannot be.
    """
    head = _read(stream, 12, name)
    if not looks_like_wav(head):
        raise AudioError(f"{name} is not a WAV file: it does not start with RIFF….WAVE")
    offset = 12
    fmt: bytes | None = None
    long_data_bytes: int | None = None
    while offset < _MAX_HEADER_BYTES:
        identifier, size = struct.unpack("<4sI", _read(stream, 8, name))
        offset += 8
        if identifier == b"data":
            if fmt is None:
                raise AudioError(f"{name}: samples come before the format chunk, file is damaged")
            if size == 0xFFFF_FFFF and long_data_bytes is not None:
                promised: int | None = long_data_bytes
            else:
                promised = None if size >= UNKNOWN_SIZE_FROM and head[:4] == b"RIFF" else size
            return _header(fmt, offset, promised, name)
        if size > _MAX_HEADER_BYTES:
            raise AudioError(
                f"{name}: a chunk {identifier.decode('latin-1')!r} of {size} bytes comes before "
                f"its samples, at most {_MAX_HEADER_BYTES} are read; "
                "write it without: sox FILE COPY.wav"
            )
        body = _read(stream, size + size % 2, name)
        offset += len(body)
        if identifier == b"fmt ":
            fmt = body
        elif identifier == b"ds64" and len(body) >= 16:
            long_data_bytes = struct.unpack("<Q", body[8:16])[0]
    raise AudioError(f"{name} holds no audio: no data chunk in its header")


def check_complete(header: WavHeader, file_bytes: int, name: str) -> None:
    """Refuse a file that holds less audio than its header promises.

    Parameters
    ----------
    header : WavHeader
        From `read_wav_header`.
    file_bytes : int
        Size of the whole file.
    name : str
        How messages call the file.

    Raises
    ------
    AudioError
        The file was cut short.
    """
    present = file_bytes - header.data_offset
    if header.data_bytes is not None and present < header.data_bytes:
        raise truncated(header, present, name)


def truncated(header: WavHeader, present_bytes: int, name: str) -> AudioError:
    """The error for audio that ends before its header says."""
    rate = header.bytes_per_second
    return AudioError(
        f"{name} is truncated: its header promises {(header.data_bytes or 0) / rate:.3f} s "
        f"of audio, {present_bytes / rate:.3f} s are there; copy or record it again"
    )


def _header(fmt: bytes, offset: int, data_bytes: int | None, name: str) -> WavHeader:
    if len(fmt) < 16:
        raise AudioError(
            f"{name}: format chunk of {len(fmt)} bytes, 16 are needed; file is damaged"
        )
    tag, channels, rate_hz, byte_rate, frame_bytes, bits = struct.unpack("<HHIIHH", fmt[:16])
    if tag == _FORMAT_EXTENSIBLE and len(fmt) >= 26:
        tag = struct.unpack("<H", fmt[24:26])[0]
    if channels == 0:
        raise AudioError(f"{name} has 0 channels; at least 1 is needed")
    if rate_hz == 0:
        raise AudioError(f"{name} has a sample rate of 0 Hz; file is damaged")
    if frame_bytes == 0:
        raise AudioError(f"{name} has frames of 0 bytes; file is damaged")
    byte_rate = byte_rate or frame_bytes * rate_hz
    return WavHeader(tag, channels, rate_hz, bits, frame_bytes, byte_rate, offset, data_bytes)


def _read(stream: BinaryIO, count: int, name: str) -> bytes:
    parts = []
    missing = count
    while missing:
        part = stream.read(missing)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    data = b"".join(parts)
    if missing:
        if not data and count == 12:
            raise AudioError(f"{name} is empty")
        raise AudioError(f"{name} ends inside its WAV header; it holds no audio")
    return data
