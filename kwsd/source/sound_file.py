"""Sound files as libsndfile decodes them, and what libsndfile does not see.

It reads a WAV that was cut short without a word, and takes 24 bits in four bytes (``arecord -f
S24_LE``) for 32, which makes them 48 dB too quiet, or for 24 in three, which is noise.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import soundfile as sf

from kwsd.block import FloatArray
from kwsd.errors import AudioError
from kwsd.source.low_24_wav import Low24Wav
from kwsd.source.wav_header import WavHeader, check_complete, looks_like_wav, read_wav_header

_UNKNOWN_FRAMES = 1 << 62
"""libsndfile reports as many or more where a stream does not say its length."""

_SEEK_FAILED = 39
"""What libsndfile calls it."""


class DecodingError(AudioError):
    """Samples that are stored and cannot be read.

    Parameters
    ----------
    message : str
        For people.
    reason : str
        What libsndfile says.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SoundFile:
    """A regular file, open at its first sample.

    Parameters
    ----------
    path : Path
        WAV, FLAC, Ogg and whatever else libsndfile decodes.

    Raises
    ------
    AudioError
        It is empty, cut short, or not audio.
    OSError
        It is not there, or may not be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        header = _checked_header(path)
        self._read_frames = 0
        self._file: sf.SoundFile | Low24Wav
        try:
            if header is not None and header.is_low_24:
                self._file = Low24Wav(path, header)
            else:
                self._file = _open(path)
        except sf.LibsndfileError as error:
            raise AudioError(
                f"{path} is not audio that can be read ({_reason(error)}); "
                "WAV, FLAC and Ogg are understood; samples without a header need one: "
                "sox -t raw -r RATE_HZ -e signed -b 16 -c CHANNELS FILE FILE.wav"
            ) from None

    @property
    def sample_rate_hz(self) -> int:
        """Frames per second."""
        return int(self._file.samplerate)

    @property
    def channels(self) -> int:
        """Samples of a frame."""
        return int(self._file.channels)

    @property
    def frames(self) -> int | None:
        """How many there are; None where the file does not say it."""
        return int(self._file.frames) if self._file.frames < _UNKNOWN_FRAMES else None

    def known_frames(self) -> int:
        """How many there are, for what must know it beforehand.

        Raises
        ------
        AudioError
            The file does not say it.
        """
        if self.frames is None:
            raise AudioError(
                f"{self._path} does not say how long it is, as an encoder leaves it that writes to "
                "a pipe: copy it, for example with ffmpeg -i FILE COPY.wav"
            )
        return self.frames

    @property
    def seekable(self) -> bool:
        """Whether `seek` works."""
        return bool(self._file.seekable())

    def seek(self, frame: int) -> None:
        """Go to a frame.

        Raises
        ------
        DecodingError
            libsndfile does not get there.
        """
        try:
            self._read_frames = self._file.seek(frame)
        except sf.LibsndfileError as error:
            raise self._undecodable(error) from None

    def read(self, count: int) -> FloatArray:
        """Next frames, float32 [up to count, channels], full scale 1.0; none at the end.

        Raises
        ------
        DecodingError
            They cannot be decoded.
        """
        try:
            if isinstance(self._file, Low24Wav):
                samples = self._file.read(count)
            elif self.frames is not None:
                samples = self._file.read(count, dtype="float32", always_2d=True)
            else:
                samples = _read_streamed(self._file, count)
        except sf.LibsndfileError as error:
            raise self._undecodable(error) from None
        self._read_frames += len(samples)
        return samples

    def _undecodable(self, error: sf.LibsndfileError) -> DecodingError:
        reason, after_s = _reason(error), self._read_frames / self.sample_rate_hz
        return DecodingError(
            f"{self._path} cannot be decoded after {after_s:.3f} s ({reason})", reason
        )

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


def _checked_header(path: Path) -> WavHeader | None:
    """That of a WAV which holds what it promises; None for anything else that is not empty."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(12)
        if not head:
            raise AudioError(f"{path} is empty")
        if not looks_like_wav(head):
            return None
        stream.seek(0)
        header = read_wav_header(stream, str(path))
        check_complete(header, size, str(path))
        if header.data_bytes == 0:
            _check_filled(stream.read(8), size - header.data_offset, path)
        return header


def _check_filled(following: bytes, left_bytes: int, path: Path) -> None:
    """Refuse samples behind a size of zero, which libsndfile does not see; a chunk is none."""
    if len(following) < 8:
        return
    identifier, size = struct.unpack("<4sI", following)
    if not (identifier.isascii() and size <= left_bytes - 8):
        raise AudioError(
            f"{path}: its header says 0 samples, and {left_bytes} bytes follow, as a recorder "
            "leaves it that was stopped before it could fill in the size: "
            "sox --ignore-length FILE COPY.wav"
        )


def _open(path: Path) -> sf.SoundFile:
    if path.suffix.lower() != ".raw":
        return sf.SoundFile(os.fsencode(path))  # a name may hold bytes that are no text
    # By that name soundfile wants to be told what is in it; without a name it looks.
    return sf.SoundFile(os.open(path, os.O_RDONLY))


def _read_streamed(file: sf.SoundFile, count: int) -> FloatArray:
    # soundfile seeks to where it has read to, which fails at the end of a stream that does not
    # say where that is. What was read is there by then.
    chunk = np.full((count, file.channels), np.nan, np.float32)
    try:
        return np.asarray(file.read(count, out=chunk))
    except sf.LibsndfileError as error:
        if error.code != _SEEK_FAILED:
            raise
        unread = np.isnan(chunk[:, 0])
        return chunk[: int(unread.argmax()) if unread.any() else count]


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return str(text).strip().rstrip(".").lower()
