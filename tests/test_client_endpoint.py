"""Where clients look for kwsd: a login shell has a runtime directory, the system's service none."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from fake_kwsd import FakeKwsd
from other_user import closed_folder, other_user

from kwsd import kwsctl
from kwsd.bridge.settings import BridgeSettings
from kwsd.ctl.client import request
from kwsd.errors import BusError
from kwsd.sink import endpoint
from kwsd.sink.endpoint import CONTROL_SOCKET, client_endpoint, default_endpoint, places_looked_at

EXAMPLE = Path(__file__).parent.parent / "examples/subscribe.py"


@dataclass(frozen=True)
class Places:
    """Folders for the sockets of the user and of the system's service."""

    own: Path
    system: Path

    def make(self, folder: Path, socket_name: str) -> str:
        """Something at a socket's path; its endpoint."""
        folder.mkdir(exist_ok=True)
        (folder / socket_name).touch()
        return f"ipc://{folder / socket_name}"


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    """A login shell on a machine without any kwsd."""
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        made = Places(Path(folder) / "user/kwsd", Path(folder) / "run")
        made.own.parent.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(made.own.parent))
        monkeypatch.setattr(endpoint, "SYSTEM_RUNTIME_DIRECTORY", str(made.system))
        yield made


@pytest.mark.parametrize("socket_name", ["events.sock", "control.sock"])
def test_the_systems_is_taken_where_only_that_is_there(places: Places, socket_name: str) -> None:
    own = f"ipc://{places.own / socket_name}"
    assert client_endpoint(socket_name=socket_name) == own
    system = places.make(places.system, socket_name)
    assert client_endpoint(socket_name=socket_name) == system
    assert client_endpoint({}, socket_name) == system
    # What the daemon itself binds depends on nothing that is there.
    assert default_endpoint(socket_name=socket_name) == own
    assert places.make(places.own, socket_name) == own
    assert client_endpoint(socket_name=socket_name) == own


def test_a_folder_that_may_not_be_entered_counts_as_the_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closed_folder() as (folder, _):
        monkeypatch.setattr(endpoint, "SYSTEM_RUNTIME_DIRECTORY", str(folder))
        with other_user():
            found = client_endpoint({"XDG_RUNTIME_DIR": "/gone"})
    assert found == f"ipc://{folder}/events.sock"


def test_messages_name_both_places(places: Places) -> None:
    own, system = default_endpoint(), default_endpoint({})
    assert places_looked_at(own) == f"{own} (nor is there {system})"
    assert places_looked_at(system) == f"{system} (nor is there {own})"
    places.make(places.system, "events.sock")
    assert places_looked_at(own) == f"{own} (there is {system}, too: name it to use it)"
    assert places_looked_at(own, {"XDG_RUNTIME_DIR": "/gone"}) == own
    assert places_looked_at(system, {}) == system
    assert places_looked_at("tcp://127.0.0.1:1") == "tcp://127.0.0.1:1"


def test_commands_find_the_system_service(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    places.system.mkdir()
    service = FakeKwsd(places.system)
    try:
        for name, path in (("e", "events.sock"), ("c", CONTROL_SOCKET)):
            (places.system / path).symlink_to(name)
        assert kwsctl.main(["status"]) == 0
        assert "hey_kws" in capsys.readouterr().out
        assert kwsctl.main(["events", "--count", "1", "health/"]) == 0
    finally:
        service.close()


def test_commands_say_where_nobody_was(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert kwsctl.main(["events", "--timeout-s", "0.05"]) == 69
    error = capsys.readouterr().err
    assert f"{places.own}/events.sock (nor is there ipc://{places.system}/events.sock)" in error
    with pytest.raises(BusError) as caught:
        request(client_endpoint(socket_name=CONTROL_SOCKET), "status", 0.05)
    assert f"{places.own}/control.sock (nor is there ipc://{places.system}/" in str(caught.value)


def test_bridges_find_the_system_service(places: Places) -> None:
    events = places.make(places.system, "events.sock")
    control = places.make(places.system, CONTROL_SOCKET)
    assert (BridgeSettings().bus, BridgeSettings().control) == (events, control)
    named = BridgeSettings(bus_endpoint="ipc:///a", control_endpoint="ipc:///b")
    assert (named.bus, named.control) == ("ipc:///a", "ipc:///b")


def example() -> ModuleType:
    """The example, which imports nothing of kwsd."""
    specification = importlib.util.spec_from_file_location("subscribe", EXAMPLE)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_example_finds_the_system_service(places: Places) -> None:
    subscribe = example()
    assert subscribe.SYSTEM_SOCKET == "/run/kwsd/events.sock"
    subscribe.SYSTEM_SOCKET = str(places.system / "events.sock")
    own = f"ipc://{places.own}/events.sock"
    assert subscribe.default_endpoint() == own
    system = places.make(places.system, "events.sock")
    assert subscribe.default_endpoint() == system
    places.make(places.own, "events.sock")
    assert subscribe.default_endpoint() == own
