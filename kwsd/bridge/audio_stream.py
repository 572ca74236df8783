"""The audio behind a wake: fetched from the daemon's pre-roll, sent on as Wyoming chunks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event

from kwsd.bridge.control_channel import ControlChannel
from kwsd.errors import KwsdError

log = logging.getLogger(__name__)

RATE_HZ = 16_000
_WIDTH_BYTES = 2
_CHUNK_SAMPLES = 1024
_POLL_S = 0.04
"""Pause between two questions: two deliveries of the daemon."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """When a stream ends that nobody ends."""

    stream_s: float
    """So much audio."""

    silence_s: float
    """No audio for so long."""


async def send_audio(
    control: ControlChannel,
    write: Callable[[Event], Awaitable[None]],
    from_sample: int,
    limits: StreamLimits,
    ended: asyncio.Event,
) -> str:
    """Send audio from a position on until told to end, or until a limit.

    Parameters
    ----------
    control : ControlChannel
        The daemon.
    write : callable
        Sends one event to the client.
    from_sample : int
        Stream position at 16 kHz of the first sample.
    limits : StreamLimits
        Limits.
    ended : asyncio.Event
        Set by whom has heard enough.

    Returns
    -------
    str
        Why it ended.
    """
    loop = asyncio.get_running_loop()
    await write(AudioStart(rate=RATE_HZ, width=_WIDTH_BYTES, channels=1, timestamp=0).event())
    position, sent, why = from_sample, 0, ""
    fresh_s = loop.time()
    while not why:
        try:
            place, pcm = await control.ask("preroll", from_sample=position)
            lost, position = int(place["lost_samples"]), int(place["next_sample"])
        except (KwsdError, KeyError, TypeError, ValueError) as error:
            why = f"no audio from kwsd: {error}"
            break
        if lost:
            log.warning("%d samples of the command are lost: a gap, or fetched too late", lost)
        pcm = pcm[: (round(limits.stream_s * RATE_HZ) - sent) * _WIDTH_BYTES]
        step = _CHUNK_SAMPLES * _WIDTH_BYTES
        for start in range(0, len(pcm), step):
            if ended.is_set():
                break
            piece = pcm[start : start + step]
            chunk = AudioChunk(
                rate=RATE_HZ,
                width=_WIDTH_BYTES,
                channels=1,
                audio=piece,
                timestamp=sent * 1000 // RATE_HZ,
            )
            await write(chunk.event())
            sent += len(piece) // _WIDTH_BYTES
        if pcm:
            fresh_s = loop.time()
        if ended.is_set():
            why = "the client has heard enough"
        elif sent >= round(limits.stream_s * RATE_HZ):
            why = f"limit of {limits.stream_s:g} s"
        elif loop.time() - fresh_s > limits.silence_s:
            why = f"no audio for {limits.silence_s:g} s"
        else:
            try:
                await asyncio.wait_for(ended.wait(), _POLL_S)
            except TimeoutError:
                pass
    await write(AudioStop(timestamp=sent * 1000 // RATE_HZ).event())
    return f"{why}; {sent / RATE_HZ:.1f} s sent"
