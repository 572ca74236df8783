"""The Wyoming bridge's address and its clients: what is in the way, and who is gone or too many."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from fake_kwsd import RATE_HZ, FakeKwsd

from kwsd.errors import BusError, ConfigError, KwsdError

pytest.importorskip("wyoming", reason="no wyoming: install kwsd[wyoming]")
from test_bridge_wyoming import LIMIT_S, joined, kwsd, serving, woken  # noqa: E402, F401
from wyoming.client import AsyncClient, AsyncTcpClient  # noqa: E402
from wyoming.event import async_write_event  # noqa: E402
from wyoming.ping import Ping, Pong  # noqa: E402
from wyoming.satellite import RunSatellite  # noqa: E402

from kwsd.bridge import wyoming as bridge_module  # noqa: E402
from kwsd.bridge import wyoming_server, wyoming_session  # noqa: E402
from kwsd.bridge.wyoming import MOST_CLIENTS, WyomingBridge  # noqa: E402

# linux/tcp.h; Python has no name for it.
TCP_REPAIR = 19


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not what():
            await asyncio.sleep(0.01)


async def answers(client: AsyncClient) -> bool:
    """Whether a client is served; False if its connection was ended."""
    try:
        await client.write_event(Ping(text="there?").event())
        event = await asyncio.wait_for(client.read_event(), LIMIT_S)
    except ConnectionError:
        return False
    return event is not None and Pong.is_type(event.type)


@asynccontextmanager
async def connected(bridge: WyomingBridge) -> AsyncIterator[AsyncClient]:
    """A client; it does not mind if its connection is ended."""
    client = AsyncTcpClient("127.0.0.1", bridge.port)
    await client.connect()
    try:
        yield client
    finally:
        with suppress(ConnectionError):
            await client.disconnect()


async def refused(kwsd: FakeKwsd, uri: str) -> KwsdError:  # noqa: F811
    with pytest.raises(KwsdError) as error:
        async with serving(kwsd, uri=uri):
            pass
    return error.value


def folder(kwsd: FakeKwsd) -> Path:  # noqa: F811
    """Short enough for sockets."""
    return Path(kwsd.bus_endpoint.removeprefix("ipc://")).parent


def test_an_address_that_is_taken(kwsd: FakeKwsd) -> None:  # noqa: F811
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        error = asyncio.run(refused(kwsd, f"tcp://127.0.0.1:{taken.getsockname()[1]}"))
    assert isinstance(error, BusError) and "cannot be bound" in str(error)


def test_a_unix_socket_is_the_bridges_own(kwsd: FakeKwsd) -> None:  # noqa: F811
    async def scene() -> None:
        path = folder(kwsd) / "w"
        # One that a bridge left behind when it was killed is replaced.
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        async with serving(kwsd, uri=f"unix://{path}") as bridge:
            await until(lambda: bridge._server._server)
            async with AsyncClient.from_uri(f"unix://{path}") as client:
                assert await answers(client)
                # A second bridge is refused, and the first has not noticed.
                error = await refused(kwsd, f"unix://{path}")
                assert isinstance(error, BusError)
                assert f"uri = unix://{path} is in use by another kwsd" in str(error)
                assert await answers(client)
            async with AsyncClient.from_uri(f"unix://{path}") as client:
                assert await answers(client)
        assert not path.exists()
        async with serving(kwsd, uri=f"unix://{path}") as bridge:
            await until(lambda: bridge._server._server)

        # Nor does it take a socket of the daemon.
        error = await refused(kwsd, kwsd.control_endpoint.replace("ipc:", "unix:"))
        assert isinstance(error, BusError) and "in use" in str(error)

    asyncio.run(scene())


def test_what_is_no_socket_is_left_as_it_is(kwsd: FakeKwsd) -> None:  # noqa: F811
    file, link, place = folder(kwsd) / "notes", folder(kwsd) / "link", folder(kwsd) / "place"
    file.write_text("precious")
    link.symlink_to(folder(kwsd) / "nowhere")
    place.mkdir()
    for path in (file, link, place):
        error = asyncio.run(refused(kwsd, f"unix://{path}"))
        assert isinstance(error, ConfigError) and error.exit_code == 78
        assert f"uri = unix://{path}: " in str(error) and "is not a socket" in str(error)
    assert file.read_text() == "precious"
    assert link.is_symlink() and place.is_dir()


def test_a_client_that_is_gone_without_a_word_is_noticed(
    kwsd: FakeKwsd,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wyoming_server, "KEEPALIVE_IDLE_S", 1)

    async def scene() -> None:
        async with serving(kwsd) as bridge:
            client = AsyncTcpClient("127.0.0.1", bridge.port)
            await client.connect()
            await joined(client)
            (session,) = bridge._sessions
            accepted = session._writer.get_extra_info("socket")
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) > 0
            assert client._writer is not None
            connection = client._writer.get_extra_info("socket")
            try:
                # Closed like this, a connection says no goodbye, as when the power fails.
                connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            except PermissionError:
                pytest.skip("only root can end a connection without a word")
            client._writer.transport.abort()
            await until(lambda: not bridge._sessions and bridge._runner is None)

    asyncio.run(scene())


def test_a_client_that_does_not_read_is_dropped(
    kwsd: FakeKwsd,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wyoming_session, "WRITE_LIMIT_S", 0.3)

    async def scene() -> None:
        async with serving(kwsd, stream_limit_s=300.0) as bridge:
            # Its reader's limit is what it takes without being asked.
            _, writer = await asyncio.open_connection("127.0.0.1", bridge.port, limit=1)
            await async_write_event(RunSatellite().event(), writer)
            await until(lambda: bridge._runner is not None)
            kwsd.end_sample = 300 * RATE_HZ
            while bridge._stream is None:
                kwsd.wake()
                await asyncio.sleep(0.1)
            await until(lambda: not bridge._sessions and bridge._runner is None)
            writer.transport.abort()

            # The same for answers: nothing waits for it behind its session.
            _, writer = await asyncio.open_connection("127.0.0.1", bridge.port, limit=1)
            await until(lambda: bridge._sessions)
            (session,) = bridge._sessions
            with suppress(ConnectionError):
                async with asyncio.timeout(LIMIT_S):
                    while bridge._sessions:
                        await async_write_event(Ping(text="x" * 900_000).event(), writer)
            await until(lambda: session._writer.get_extra_info("socket").fileno() < 0)
            writer.transport.abort()

    asyncio.run(scene())


async def crowded(bridge: WyomingBridge, stack: AsyncExitStack) -> list[AsyncClient]:
    """As many clients as there may be; the first has the wakes and says nothing since."""
    clients = [await stack.enter_async_context(connected(bridge))]
    await joined(clients[0])
    while len(clients) < MOST_CLIENTS:
        clients.append(await stack.enter_async_context(connected(bridge)))
        assert await answers(clients[-1])
    return clients


def test_who_is_silent_makes_room_but_not_who_has_the_wakes(
    kwsd: FakeKwsd,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bridge_module, "SILENT_S", 0.0)

    async def scene() -> None:
        async with AsyncExitStack() as stack:
            bridge = await stack.enter_async_context(serving(kwsd))
            clients = await crowded(bridge, stack)
            for client in (clients[1], *clients[3:]):
                assert await answers(client)
            ninth = await stack.enter_async_context(connected(bridge))
            assert await answers(ninth)
            # The first has been silent for longest, but for the wakes it would be the one to go.
            assert not await answers(clients[2])
            for client in (clients[1], *clients[3:]):
                assert await answers(client)
            await woken(kwsd, clients[0])

    asyncio.run(scene())


def test_nobody_who_speaks_makes_room(kwsd: FakeKwsd) -> None:  # noqa: F811
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            bridge = await stack.enter_async_context(serving(kwsd))
            clients = await crowded(bridge, stack)
            ninth = await stack.enter_async_context(connected(bridge))
            assert not await answers(ninth)
            for client in clients:
                assert await answers(client)

    asyncio.run(scene())
