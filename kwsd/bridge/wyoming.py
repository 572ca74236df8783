"""``kwsd-wyoming``: kwsd as a satellite of a Wyoming client such as Home Assistant.

The client connects here. On a wake it gets the detection, the wish for a pipeline, and the audio
from the word's end on, without echo and noise. The last client that said ``run-satellite`` has the
wakes.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq.asyncio

from kwsd import __version__
from kwsd.bridge.command import run_bridge
from kwsd.bridge.control_channel import ControlChannel
from kwsd.bridge.listener import Listener, keep_subscribed
from kwsd.bridge.settings import load_settings, node_name
from kwsd.bridge.wyoming_server import WyomingServer
from kwsd.bridge.wyoming_settings import WyomingSettings
from kwsd.ctl.connect import RENEW_S, Subscription
from kwsd.errors import KwsdError, RuntimeUnavailable

try:
    from wyoming.info import Attribution, Info, WakeModel, WakeProgram
    from wyoming.info import Satellite as SatelliteInfo
    from wyoming.pipeline import PipelineStage, RunPipeline
    from wyoming.wake import Detection

    from kwsd.bridge.audio_stream import RATE_HZ, StreamLimits, send_audio
    from kwsd.bridge.wyoming_session import Session
except ImportError:
    _MISSING = True
else:
    _MISSING = False

# By name: this module may be __main__.
log = logging.getLogger("kwsd.bridge.wyoming")

MOST_CLIENTS = 8
_POLL_MS = 1000

SILENT_S = 10.0
"""A client that has said nothing for so long makes room for another; Home Assistant pings every
two seconds."""


class WyomingBridge:
    """Bus and pre-roll in, Wyoming out.

    Parameters
    ----------
    settings : WyomingSettings
        Checked settings.
    renew_s : float
        Without a message for so long it subscribes anew.
    """

    def __init__(self, settings: WyomingSettings, renew_s: float = RENEW_S) -> None:
        self._settings = settings
        self._renew_s = renew_s
        self._server = WyomingServer(settings)
        self._listener = Listener()
        self._sessions: set[Session] = set()
        self._runner: Session | None = None
        self._stream: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._keywords: list[dict[str, Any]] = []
        self._control: ControlChannel | None = None
        self.stopped = asyncio.Event()
        """Set it to end `serve`."""

    @property
    def port(self) -> int:
        """TCP port that was bound."""
        return self._server.port

    async def serve(self) -> None:
        """Work until stopped.

        Raises
        ------
        BusError
            The address cannot be bound, or another bridge has it.
        ConfigError, MissingFileError
            A bad bus endpoint or key, or a file where the socket should be.
        """
        context = zmq.asyncio.Context()
        self._control = ControlChannel(context, self._settings.control)
        try:
            bus = keep_subscribed(context, self._settings, "wake/", renew_s=self._renew_s)
            await self._server.open(self._client)
            log.info("waiting for clients at %s", self._settings.uri)
            try:
                hearing = asyncio.create_task(self._hear(bus))
                await self.stopped.wait()
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
            finally:
                self._server.close()
                if self._stream is not None:
                    self._stream.cancel()
                for session in list(self._sessions):
                    session.close()
                bus.close()
        finally:
            self._control.close()
            context.destroy(0)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._sessions) >= MOST_CLIENTS and not self._make_room():
            log.warning("a client is turned away: there are %d", MOST_CLIENTS)
            writer.close()
            return
        session = Session(self, reader, writer)
        self._sessions.add(session)
        try:
            await session.serve()
        finally:
            self._sessions.discard(session)

    def _make_room(self) -> bool:
        """Drop the client that has said nothing for longest, never the one with the wakes."""
        others = [session for session in self._sessions if session is not self._runner]
        session = max(others, key=Session.silent_s)
        if session.silent_s() < SILENT_S:
            return False
        log.warning(
            "client %s makes room: it has said nothing for %.0f s", session.peer, session.silent_s()
        )
        self._sessions.discard(session)
        session.drop()
        return True

    def run(self, session: Session) -> None:
        """This client gets the wakes from now on."""
        if self._runner is not None and self._runner is not session:
            log.info("client %s takes over from %s", session.peer, self._runner.peer)
            self._ended.set()
        self._runner = session
        log.info("client %s gets the wakes", session.peer)

    def pause(self, session: Session) -> None:
        """This client gets no more wakes; its stream ends."""
        if self._runner is session:
            self._runner = None
            self._ended.set()
            log.info("client %s gets no more wakes", session.peer)

    def end_stream(self, session: Session, why: str) -> None:
        """The client has heard enough."""
        if self._runner is session and not self._ended.is_set():
            log.debug("stream ends: %s", why)
            self._ended.set()

    async def _hear(self, bus: Subscription) -> None:
        while True:
            # Not wait_for() around the message: what comes as the time ends would be lost.
            if not await bus.channel.poll(_POLL_MS):
                bus.renew()
                continue
            event = self._listener.parse(await bus.channel.recv_multipart())
            if bus.heard():
                log.info("kwsd is there at %s", bus.endpoint)
            if event is not None and event["type"] == "wake":
                self._wake(event)

    def _wake(self, event: dict[str, Any]) -> None:
        name, session = event["name"], self._runner
        if session is None:
            log.info("wake %s: no client is there to take it", name)
        elif self._stream is not None and not self._stream.done():
            log.info("wake %s: a stream is still on", name)
        else:
            self._ended = asyncio.Event()
            self._stream = asyncio.create_task(self._answer(session, event, self._ended))

    async def _answer(self, session: Session, event: dict[str, Any], ended: asyncio.Event) -> None:
        assert self._control is not None
        name, settings = event["name"], self._settings
        pipeline = RunPipeline(
            start_stage=PipelineStage.ASR,
            end_stage=PipelineStage(settings.end_stage),
            wake_word_name=name,
        )
        try:
            await session.write(
                Detection(name=name, timestamp=round(event["end_s"] * 1000)).event()
            )
            await session.write(pipeline.event())
            why = await send_audio(
                self._control,
                session.write,
                round(event["end_s"] * RATE_HZ),
                StreamLimits(settings.stream_limit_s, settings.silence_limit_s),
                ended,
            )
        except OSError as error:
            log.warning("client %s takes no audio: %s", session.peer, str(error) or "too slow")
            session.drop()
        else:
            log.info("wake %s: stream ended, %s", name, why)

    async def describe(self) -> Info:
        """Who this is and what it listens for."""
        assert self._control is not None
        try:
            status, _ = await self._control.ask("status")
            self._keywords = [dict(entry) for entry in status["keywords"]]
        except (KwsdError, KeyError, TypeError, ValueError) as error:
            log.warning("what kwsd listens for is not known: %s", error)
        source = Attribution(name="kwsd", url="")
        about: dict[str, Any] = {"attribution": source, "installed": True}
        models = [
            WakeModel(
                name=str(entry.get("keyword")),
                phrase=str(entry.get("keyword")).replace("_", " "),
                description=str(entry.get("model")),
                version=str(entry.get("version")),
                languages=[],
                **about,
            )
            for entry in self._keywords
        ]
        satellite = SatelliteInfo(
            name=self._settings.name or node_name(),
            description="kwsd on this board",
            version=__version__,
            area=self._settings.area or None,
            has_vad=False,
            active_wake_words=[
                str(entry.get("keyword")) for entry in self._keywords if entry.get("enabled")
            ],
            max_active_wake_words=len(models),
            supports_trigger=False,
            **about,
        )
        program = WakeProgram(
            name="kwsd", description="Wake words", version=__version__, models=models, **about
        )
        return Info(wake=[program], satellite=satellite)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``kwsd-wyoming``; gives the exit code."""
    return run_bridge("wyoming", "Makes kwsd a Wyoming satellite.", _run, arguments)


def _run(file: Path | None) -> None:
    if _MISSING:
        raise RuntimeUnavailable("wyoming is not installed; pip install 'kwsd[wyoming]'")
    asyncio.run(_serve(load_settings(WyomingSettings, "wyoming", file)))


async def _serve(settings: WyomingSettings) -> None:
    bridge = WyomingBridge(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, bridge.stopped.set)
    await bridge.serve()


if __name__ == "__main__":
    sys.exit(main())
