"""The Wyoming bridge, spoken to by Wyoming's own client."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_kwsd import RATE_HZ, FakeKwsd, voice

from kwsd.bridge.wyoming_settings import WyomingSettings

pytest.importorskip("wyoming", reason="no wyoming: install kwsd[wyoming]")
from wyoming.asr import Transcript  # noqa: E402
from wyoming.audio import AudioChunk, AudioStart, AudioStop  # noqa: E402
from wyoming.client import AsyncClient, AsyncTcpClient  # noqa: E402
from wyoming.error import Error  # noqa: E402
from wyoming.event import Event  # noqa: E402
from wyoming.info import Describe, Info  # noqa: E402
from wyoming.ping import Ping, Pong  # noqa: E402
from wyoming.pipeline import PipelineStage, RunPipeline  # noqa: E402
from wyoming.satellite import PauseSatellite, RunSatellite  # noqa: E402
from wyoming.vad import VoiceStopped  # noqa: E402
from wyoming.wake import Detection  # noqa: E402

from kwsd.bridge.wyoming import WyomingBridge  # noqa: E402

LIMIT_S = 20.0
END_SAMPLE = RATE_HZ  # of the fake's word


@pytest.fixture
def kwsd() -> Iterator[FakeKwsd]:
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        made = FakeKwsd(Path(folder))
        yield made
        made.close()


@asynccontextmanager
async def serving(kwsd: FakeKwsd, **settings: Any) -> AsyncIterator[WyomingBridge]:
    chosen: dict[str, Any] = {"uri": "tcp://127.0.0.1:0", **settings}
    bridge = WyomingBridge(
        WyomingSettings(
            bus_endpoint=kwsd.bus_endpoint, control_endpoint=kwsd.control_endpoint, **chosen
        )
    )
    task = asyncio.create_task(bridge.serve())
    try:
        while not bridge.port and not task.done() and "unix" not in chosen["uri"]:
            await asyncio.sleep(0.01)
        yield bridge
    finally:
        bridge.stopped.set()
        await task


async def read(client: AsyncClient) -> Event:
    event = await asyncio.wait_for(client.read_event(), LIMIT_S)
    assert event is not None, "the bridge has closed the connection"
    return event


async def joined(client: AsyncClient) -> None:
    """Take the wakes; a pong says that the bridge has seen it."""
    await client.write_event(RunSatellite().event())
    await client.write_event(Ping(text="joined").event())
    while not Pong.is_type((await read(client)).type):
        pass


async def woken(kwsd: FakeKwsd, client: AsyncClient) -> Detection:
    """Wake until it is heard: the bridge may not be subscribed yet."""
    waiting = asyncio.create_task(read(client))
    while not waiting.done():
        kwsd.wake()
        await asyncio.wait([waiting], timeout=0.3)
    assert Detection.is_type(waiting.result().type)
    return Detection.from_event(waiting.result())


async def heard(
    client: AsyncClient, enough: Callable[[bytes], Awaitable[bool]]
) -> tuple[bytes, list[AudioChunk]]:
    """The audio of a stream up to its stop; ``enough`` is asked behind each chunk."""
    pcm, chunks, told = b"", [], False
    while not AudioStop.is_type((event := await read(client)).type):
        assert AudioChunk.is_type(event.type), event.type
        chunks.append(AudioChunk.from_event(event))
        pcm += chunks[-1].audio
        if not told:
            told = await enough(pcm)
    return pcm, chunks


def test_describe_and_ping(kwsd: FakeKwsd) -> None:
    async def scene() -> None:
        async with serving(kwsd, name="Kitchen", area="kitchen") as bridge:
            async with AsyncTcpClient("127.0.0.1", bridge.port) as client:
                await client.write_event(Describe().event())
                info = Info.from_event(await read(client))
                assert info.satellite is not None
                assert (info.satellite.name, info.satellite.area) == ("Kitchen", "kitchen")
                assert info.satellite.active_wake_words == ["computer"]
                assert [model.name for model in info.wake[0].models] == ["computer", "hey_kws"]
                assert info.wake[0].models[1].phrase == "hey kws"
                await client.write_event(Ping(text="there?").event())
                assert Pong.from_event(await read(client)).text == "there?"

    asyncio.run(scene())


@pytest.mark.parametrize(
    "last_word", [Transcript(text="lights on"), VoiceStopped(), Error(text="no speech")]
)
def test_a_wake_is_followed_by_the_audio_of_the_command(kwsd: FakeKwsd, last_word: Any) -> None:
    async def scene() -> None:
        async with serving(kwsd) as bridge:
            async with AsyncTcpClient("127.0.0.1", bridge.port) as client:
                await joined(client)
                kwsd.end_sample = END_SAMPLE + 3000  # said before the bridge could ask
                detection = await woken(kwsd, client)
                assert (detection.name, detection.timestamp) == ("computer", 1000)
                pipeline = RunPipeline.from_event(await read(client))
                assert pipeline.start_stage == PipelineStage.ASR
                assert pipeline.end_stage == PipelineStage.HANDLE
                assert pipeline.wake_word_name == "computer"
                start = AudioStart.from_event(await read(client))
                assert (start.rate, start.width, start.channels) == (16_000, 2, 1)

                async def enough(pcm: bytes) -> bool:
                    kwsd.end_sample += 500  # people go on talking
                    if len(pcm) < 16_000:
                        return False
                    await client.write_event(last_word.event())
                    return True

                pcm, chunks = await heard(client, enough)
                # From the word's end on, without a hole or a repeat.
                assert pcm == voice(END_SAMPLE, len(pcm) // 2)
                assert [chunk.timestamp for chunk in chunks][:2] == [0, 64]

                # And the next wake starts over.
                await woken(kwsd, client)

    asyncio.run(scene())


def test_a_stream_that_nobody_ends_has_limits(kwsd: FakeKwsd) -> None:
    async def not_enough(pcm: bytes) -> bool:
        return False

    async def scene() -> None:
        async with serving(kwsd, stream_limit_s=1.0, silence_limit_s=0.5) as bridge:
            async with AsyncTcpClient("127.0.0.1", bridge.port) as client:
                await joined(client)
                kwsd.end_sample = END_SAMPLE + 5 * RATE_HZ
                await woken(kwsd, client)
                await read(client), await read(client)
                pcm, _ = await heard(client, not_enough)
                assert pcm == voice(END_SAMPLE, RATE_HZ)

                # The microphone is muted: no audio comes.
                kwsd.end_sample = END_SAMPLE
                await woken(kwsd, client)
                await read(client), await read(client)
                pcm, _ = await heard(client, not_enough)
                assert pcm == b""

    asyncio.run(scene())


def test_only_who_runs_gets_the_wakes(kwsd: FakeKwsd) -> None:
    async def scene() -> None:
        # No limit ends a stream here before the test gives up.
        async with serving(kwsd, silence_limit_s=60.0, stream_limit_s=60.0) as bridge:
            first = AsyncTcpClient("127.0.0.1", bridge.port)
            second = AsyncTcpClient("127.0.0.1", bridge.port)
            async with first, second:
                await joined(first)
                await woken(kwsd, first)
                await read(first), await read(first)
                # Another takes over; the stream of the first ends.
                await joined(second)

                async def never(pcm: bytes) -> bool:
                    return False

                await heard(first, never)
                await woken(kwsd, second)
                await second.write_event(PauseSatellite().event())
                while not AudioStop.is_type((await read(second)).type):
                    pass
                kwsd.wake()
                await asyncio.sleep(0.2)
                for client in (first, second):
                    await client.write_event(Ping().event())
                    assert Pong.is_type((await read(client)).type), "a wake nobody asked for"
                # One that comes back is served again.
                await joined(first)
                await woken(kwsd, first)
            # Both gone, in the midst of a stream.
            async with AsyncTcpClient("127.0.0.1", bridge.port) as third:
                await joined(third)
                await woken(kwsd, third)

    asyncio.run(scene())


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"[]\n",
        b"{}\n",
        b'{"type": 5}\n',
        b'{"type": "ping", "data": 7}\n',
        b'{"type": "audio-chunk", "payload_length": 99999999999}\n',
        b'{"type": "ping", "data_length": "x"}\n',
        b'{"type": "ping", "data_length": 4}\nnull',
        b"[" * 60_000 + b"\n",
        b"x" * 200_000,
        b"\xff\xfe\n",
    ],
)
def test_rubbish_ends_one_connection_only(kwsd: FakeKwsd, rubbish: bytes) -> None:
    async def scene() -> None:
        async with serving(kwsd) as bridge:
            async with AsyncTcpClient("127.0.0.1", bridge.port) as good:
                await joined(good)
                reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
                writer.write(rubbish)
                writer.write_eof()
                try:
                    await asyncio.wait_for(reader.read(), LIMIT_S)
                except ConnectionError:
                    pass
                writer.close()
                await good.write_event(Ping(text="still").event())
                assert Pong.from_event(await read(good)).text == "still"
                kwsd.raw(b"wake/computer/", b"rubbish on the bus")
                await woken(kwsd, good)

    asyncio.run(scene())


def test_a_daemon_that_is_gone(kwsd: FakeKwsd, tmp_path: Path) -> None:
    """Described without keywords, and the stream ends with its stop."""

    async def scene() -> None:
        nobody = f"ipc://{tmp_path}/nobody"
        async with serving(kwsd, uri="tcp://127.0.0.1:0") as bridge:
            assert bridge._control is not None
            bridge._control._endpoint = nobody
            bridge._control._timeout_s = 0.2
            async with AsyncTcpClient("127.0.0.1", bridge.port) as client:
                await client.write_event(Describe().event())
                assert Info.from_event(await read(client)).wake[0].models == []
                await joined(client)
                await woken(kwsd, client)
                kinds = [(await read(client)).type for _ in range(3)]
                assert kinds == ["run-pipeline", "audio-start", "audio-stop"]

    asyncio.run(scene())
