"""An audio file that stays valid whatever stops it: a full disk, a mute, an interrupt.

Each piece gets its room on the disk before it is written, so a write cannot fail half-way through
a FLAC frame.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, cast

import numpy as np
import soundfile as sf

from kwsd.block import FloatArray
from kwsd.errors import OutputError, UsageError
from kwsd.source.wav_header import LARGEST_WAV_BYTES
from kwsd.termination import held_back

_FORMATS = {".flac": "FLAC", ".wav": "WAV"}
_SLACK_BYTES = 65_536
"""Headers, and what the encoder holds back beside a block."""

_ENCODER_FRAMES = 8192
_FLAC_CHANNELS = 8


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class AudioWriter:
    """Writes int samples to FLAC or WAV; a context manager.

    Parameters
    ----------
    path : Path
        File ending in ``.flac`` or ``.wav``.
    rate_hz, channels, sample_bits : int
        Of the samples; 16 or 24 bits.
    replace : bool
        Write over a file that is there.

    Raises
    ------
    UsageError
        Another ending, or too many channels for FLAC.
    OutputError
        The file is there, or cannot be made.
    """

    def __init__(
        self, path: Path, rate_hz: int, channels: int, sample_bits: int, replace: bool = False
    ) -> None:
        kind = _FORMATS.get(path.suffix.lower())
        if kind is None:
            raise UsageError(f"{path}: must end in {' or '.join(_FORMATS)}")
        if kind == "FLAC" and channels > _FLAC_CHANNELS:
            raise UsageError(
                f"{path}: FLAC holds {_FLAC_CHANNELS} channels, the device has "
                f"{channels}; name a .wav"
            )
        self.path = path
        self.frames = 0
        """Written so far."""

        self._bits = sample_bits
        self._frame_bytes = channels * sample_bits // 8
        self._is_wav = kind == "WAV"
        if path.exists() and not path.is_file():
            raise OutputError(f"{path} is no ordinary file; name another one")
        try:
            # What was said in a room is for whoever recorded it.
            opened = open(path, "w+b" if replace else "x+b", buffering=0, opener=_private)
            raw = cast(IO[bytes], opened)
        except FileExistsError:
            raise OutputError(
                f"{path} is there already; name another file or add --force"
            ) from None
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
        self._disk = _ReservedFile(raw)
        # A file that nothing came into is not left behind.
        with ExitStack() as undo:
            undo.callback(path.unlink, missing_ok=True)
            undo.callback(self._disk.close)
            self._reserve(0)
            with held_back():
                self._file = sf.SoundFile(
                    self._disk, "w", rate_hz, channels, f"PCM_{sample_bits}", format=kind
                )
                undo.callback(self._file.close)
            undo.pop_all()

    def write(self, samples: FloatArray) -> None:
        """Take float32 [frames, channels], full scale 1.0.

        Raises
        ------
        OutputError
            The disk is full; all that was written before is kept.
        """
        self._reserve(len(samples))
        # To whole numbers here: libsndfile's own scale is not that of the device.
        scale = 2.0 ** (self._bits - 1)
        whole = np.clip(np.rint(samples.astype(np.float64) * scale), -scale, scale - 1)
        if self._bits == 16:
            stored = whole.astype(np.int16)
        else:
            stored = (whole * 2.0 ** (32 - self._bits)).astype(np.int32)
        with held_back():
            self._file.write(stored)
            self.frames += len(samples)

    def close(self) -> None:
        """Finish the file; may be called twice."""
        with held_back():
            self._file.close()
            self._disk.close()

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _reserve(self, frames: int) -> None:
        needed = (frames + _ENCODER_FRAMES) * self._frame_bytes + _SLACK_BYTES
        if self._is_wav and self._disk.end + needed > LARGEST_WAV_BYTES:
            raise OutputError(f"{self.path} has reached 4 GB, the most a WAV can hold; use .flac")
        try:
            self._disk.reserve(needed)
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror or error}") from None


class _ReservedFile:
    """A file whose next bytes have their place on the disk; what libsndfile writes through."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.end = 0

    def reserve(self, count: int) -> None:
        """Room for so many bytes behind the end; raises `OSError`."""
        os.posix_fallocate(self._raw.fileno(), self.end, count)

    def write(self, data: bytes) -> int:
        written = self._raw.write(data)
        self.end = max(self.end, self._raw.tell())
        return written

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        # The reserve is no part of the file.
        if whence == os.SEEK_END:
            return self._raw.seek(self.end + offset)
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def read(self, count: int = -1) -> bytes:
        return self._raw.read(count)

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Give back the reserve."""
        if not self._raw.closed:
            self._raw.truncate(self.end)
            self._raw.close()
