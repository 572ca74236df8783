"""One client of the Wyoming bridge: what it asks is answered, what is wrong ends it.

Protocol: Wyoming (one JSON line, then data and payload by their lengths), satellite role.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from wyoming.asr import Transcript
from wyoming.error import Error
from wyoming.event import Event, async_read_event, async_write_event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.satellite import PauseSatellite, RunSatellite
from wyoming.vad import VoiceStopped

log = logging.getLogger(__name__)

LARGEST_FIELD_BYTES = 1 << 20
"""Longest data or payload that a client may send: it has nothing to say that is longer."""

WRITE_LIMIT_S = 5.0
"""A client that does not read for so long is dropped."""


class Satellite(Protocol):
    """What a session needs of the satellite."""

    async def describe(self) -> Info:
        """Who this is."""

    def run(self, session: Session) -> None:
        """This client wants the wakes."""

    def pause(self, session: Session) -> None:
        """It does no longer."""

    def end_stream(self, session: Session, why: str) -> None:
        """It has heard enough."""


class _Bounded:
    """A stream reader that refuses lengths which no client of ours needs."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def readline(self) -> bytes:
        return await self._reader.readline()

    async def readexactly(self, count: int) -> bytes:
        if not 0 < count <= LARGEST_FIELD_BYTES:
            raise OverflowError(f"a field of {count} bytes; {LARGEST_FIELD_BYTES} at most")
        return await self._reader.readexactly(count)


_NOT_WYOMING = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""What comes of events that are none, down to text that no encoding has."""


class Session:
    """A connection.

    Parameters
    ----------
    satellite : Satellite
        Who has the wakes.
    reader, writer : asyncio streams
        The connection.
    """

    def __init__(
        self, satellite: Satellite, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._satellite = satellite
        self._reader: Any = _Bounded(reader)
        self._writer = writer
        self._turn = asyncio.Lock()
        self._heard_s = asyncio.get_running_loop().time()
        self.peer = str(writer.get_extra_info("peername") or "local")

    async def serve(self) -> None:
        """Answer until the client goes."""
        try:
            while (event := await async_read_event(self._reader)) is not None:
                self._heard_s = asyncio.get_running_loop().time()
                await self._handle(event)
        except asyncio.IncompleteReadError:
            pass
        except OSError as error:
            log.info("client %s is lost: %s", self.peer, str(error) or "it does not read")
            self.drop()
        except _NOT_WYOMING as error:
            log.warning("client %s dropped, it does not speak Wyoming: %r", self.peer, error)
        finally:
            self._satellite.pause(self)
            self.close()

    async def write(self, event: Event) -> None:
        """Send one event; raises OSError if the client does not take it."""
        async with self._turn:
            await asyncio.wait_for(async_write_event(event, self._writer), WRITE_LIMIT_S)

    def silent_s(self) -> float:
        """Time since the client's last event, or since it came."""
        return asyncio.get_running_loop().time() - self._heard_s

    def close(self) -> None:
        """End the connection once the client has taken what was sent."""
        self._writer.close()

    def drop(self) -> None:
        """End the connection now: this client may never take what was sent."""
        self._writer.transport.abort()

    async def _handle(self, event: Event) -> None:
        kind = event.type
        if Describe.is_type(kind):
            await self.write((await self._satellite.describe()).event())
        elif Ping.is_type(kind):
            await self.write(Pong(text=Ping.from_event(event).text).event())
        elif RunSatellite.is_type(kind):
            self._satellite.run(self)
        elif PauseSatellite.is_type(kind):
            self._satellite.pause(self)
        elif any(it.is_type(kind) for it in (Transcript, VoiceStopped, Error)):
            self._satellite.end_stream(self, kind)
        else:
            # A pipeline says more than a satellite without a loudspeaker needs.
            log.debug("client %s: %s is of no concern here", self.peer, kind)
