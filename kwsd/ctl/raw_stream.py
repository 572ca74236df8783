"""Raw audio of a running service, fetched piece by piece over the control socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kwsd.block import FloatArray
from kwsd.ctl.client import request_audio
from kwsd.errors import AudioError, UsageError

POLL_S = 0.2
LOST_AFTER_S = 5.0
"""A device that delivers nothing for this long ends the recording."""


@dataclass(frozen=True, slots=True)
class RawFormat:
    """What a service hears."""

    rate_hz: int
    channels: int

    mics: tuple[int, ...]
    """Channels that the service takes for microphones."""

    reference: tuple[int, ...]
    """Channel that it takes for the reference, or empty."""

    sample_bits: int
    """16 or 24."""

    device: str
    """Name, for messages."""

    @property
    def settings(self) -> str:
        """Options of ``kwsd`` that give the same channel map."""
        mics = ",".join(str(channel) for channel in self.mics)
        reference = ",".join(str(channel) for channel in self.reference) or "none"
        return f"--set audio.mics={mics} --set audio.reference={reference}"


class RawStream:
    """Audio from now on.

    Parameters
    ----------
    endpoint : str
        Control socket.
    ask : callable
        As `request_audio`.
    clock, sleep : callable
        Monotonic seconds, and waiting.

    Raises
    ------
    BusError, UsageError
        No daemon answers, or it is muted.
    """

    def __init__(
        self,
        endpoint: str,
        ask: Callable[..., tuple[Any, bytes]] = request_audio,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoint, self._ask = endpoint, ask
        self._clock, self._sleep = clock, sleep
        start, _ = ask(endpoint, "raw")
        self._stream, self._next = start["stream"], start["next_frame"]
        self._holes_before, self._lost = start["holes"], 0
        self.format = RawFormat(
            start["rate_hz"],
            start["channels"],
            tuple(start["mics"]),
            tuple(start["reference"]),
            start["sample_bits"],
            start["device"],
        )
        self.holes = 0
        """Times that audio was missing: the pieces around a hole stand side by side."""

    def pieces(
        self, seconds: float | None, ended: Callable[[], bool] = lambda: False
    ) -> Iterator[FloatArray]:
        """Pieces, float32 [frames, channels], until so much has come; None: without end.

        Parameters
        ----------
        seconds : float, optional
            How much.
        ended : callable
            Asked before each piece: True ends it earlier.

        Raises
        ------
        AudioError
            Muted, lost or changed: there is no more.
        BusError
            The daemon has gone.
        """
        left = None if seconds is None else round(seconds * self.format.rate_hz)
        heard_s = self._clock()
        while (left is None or left > 0) and not ended():
            self._sleep(POLL_S)
            answer, data = self._ask_next()
            samples = np.frombuffer(data, "<f4").reshape(-1, self.format.channels)
            self._next = answer["next_frame"]
            self._lost += answer["lost_frames"] > 0
            self.holes = answer["holes"] - self._holes_before + self._lost
            if len(samples) == 0:
                if self._clock() - heard_s >= LOST_AFTER_S:
                    why = answer["detail"] or "it delivers nothing"
                    raise AudioError(f"the device is {answer['state']}: {why}")
                continue
            heard_s = self._clock()
            if left is not None:
                samples = samples[:left]
                left -= len(samples)
            yield samples

    def _ask_next(self) -> tuple[Any, bytes]:
        try:
            return self._ask(self._endpoint, "raw", from_frame=self._next, stream=self._stream)
        except UsageError as error:
            raise AudioError(str(error)) from None
