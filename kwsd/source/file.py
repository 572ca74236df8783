"""File source: WAV, FLAC, Ogg and whatever else libsndfile decodes, in constant memory.

Everything that can be known of a damaged file is found when it is opened, before a caller has
produced any output; what only shows while decoding is an `AudioError` from `FileSource.blocks`.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from kwsd.block import Block, FloatArray
from kwsd.errors import AudioError, MissingFileError
from kwsd.source.base import Source, SourceInfo
from kwsd.source.channels import ChannelMap, map_channels
from kwsd.source.condition import check_rate, chunk_frames, to_blocks
from kwsd.source.pipe import PipeSource
from kwsd.source.sound_file import DecodingError, SoundFile

STANDARD_INPUT = "-"


def open_audio(
    path: str,
    mics: tuple[int, ...] | None = None,
    reference: tuple[int, ...] | None = None,
) -> Source:
    """Open a recording.

    Parameters
    ----------
    path : str
        File name; ``-`` is a WAV on standard input. A named pipe is read like standard input.
    mics, reference : tuple of int, optional
        See `kwsd.source.channels.map_channels`.

    Returns
    -------
    Source

    Raises
    ------
    MissingFileError
        There is no such file.
    AudioError
        It cannot be read as audio, is empty or cut short.
    ConfigError
        A channel was asked for that it has not.
    """
    if path == STANDARD_INPUT:
        return PipeSource.standard_input(mics, reference)
    with _opening(path):
        if _is_pipe(path):
            return PipeSource(Path(path).open("rb"), path, mics, reference)
    return open_file(path, mics, reference)


def open_file(
    path: str,
    mics: tuple[int, ...] | None = None,
    reference: tuple[int, ...] | None = None,
) -> FileSource:
    """Open a recording that is a file, not a pipe; see `open_audio`."""
    with _opening(path):
        if _is_pipe(path):
            raise AudioError(f"{path} is a pipe; store what it gives in a file")
        if Path(path).is_dir():
            raise AudioError(f"{path} is a folder; name one audio file in it")
        return FileSource(path, mics, reference)


@contextmanager
def _opening(path: str) -> Iterator[None]:
    """What the system says of a name, as errors of a recording."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(f"{path}: no such file") from None
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise MissingFileError(f"{path!r} is not a file name") from None


def _is_pipe(path: str) -> bool:
    mode = Path(path).stat().st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class FileSource:
    """Blocks of a file on disk.

    Parameters
    ----------
    path : str
        A regular file.
    mics, reference : tuple of int, optional
        See `kwsd.source.channels.map_channels`.
    """

    def __init__(
        self,
        path: str,
        mics: tuple[int, ...] | None = None,
        reference: tuple[int, ...] | None = None,
    ) -> None:
        self._path = path
        self._file = SoundFile(Path(path))
        try:
            self._frames = self._file.frames
            self._map = self._check(mics, reference)
        except BaseException:
            self._file.close()
            raise

    def _check(self, mics: tuple[int, ...] | None, reference: tuple[int, ...] | None) -> ChannelMap:
        check_rate(self._file.sample_rate_hz, self._path)
        if self._frames == 0:
            raise AudioError(f"{self._path} holds no audio: 0 samples")
        channel_map = map_channels(self._file.channels, mics, reference)
        self._check_last_frame()
        return channel_map

    def _check_last_frame(self) -> None:
        """Decode the last frame: a compressed file that was cut short fails here, not half-way."""
        if self._frames is None or not self._file.seekable:
            return
        try:
            with closing(SoundFile(Path(self._path))) as probe:
                probe.seek(self._frames - 1)
                found = len(probe.read(1))
        except DecodingError as error:
            raise self._cut_short(f"its end cannot be decoded ({error.reason})") from None
        if found != 1:
            raise self._cut_short("its last sample is missing")

    def _cut_short(self, why: str) -> AudioError:
        return AudioError(f"{self._path} is truncated or damaged: {why}; copy or record it again")

    @property
    def info(self) -> SourceInfo:
        """See `kwsd.source.base.Source`."""
        rate_hz = self._file.sample_rate_hz
        return SourceInfo(
            name=self._path,
            microphones=len(self._map.mics),
            has_reference=self._map.reference is not None,
            sample_rate_hz=rate_hz,
            channels=self._file.channels,
            duration_s=None if self._frames is None else self._frames / rate_hz,
        )

    def samples(self) -> FloatArray:
        """All that is stored, float32 [frames, channels] at its own rate, full scale 1.0.

        In place of `blocks`, for what looks at channels as they are.

        Raises
        ------
        AudioError
            It cannot be decoded to its end.
        """
        nothing = np.zeros((0, self._file.channels), np.float32)
        return np.concatenate([nothing, *self._chunks()])

    def blocks(self) -> Iterator[Block]:
        """See `kwsd.source.base.Source`."""
        return to_blocks(self._chunks(), self._map, self._file.sample_rate_hz, self._path)

    def _chunks(self) -> Iterator[FloatArray]:
        rate_hz = self._file.sample_rate_hz
        count = chunk_frames(rate_hz)
        decoded = 0
        while len(chunk := self._file.read(count)):
            decoded += len(chunk)
            yield chunk
        if self._frames is not None and decoded < self._frames:
            raise self._cut_short(
                f"{decoded / rate_hz:.3f} s of {self._frames / rate_hz:.3f} s can be decoded"
            )

    def close(self) -> None:
        """See `kwsd.source.base.Source`."""
        self._file.close()
