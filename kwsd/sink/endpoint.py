"""Bus endpoints: where the event socket and the control socket may be bound."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

from kwsd.errors import ConfigError

SYSTEM_RUNTIME_DIRECTORY = "/run/kwsd"
EVENTS_SOCKET = "events.sock"
CONTROL_SOCKET = "control.sock"

# sockaddr_un.sun_path holds 108 bytes with its closing zero.
_LONGEST_SOCKET_PATH = 107


def default_endpoint(
    environment: Mapping[str, str] | None = None, socket_name: str = EVENTS_SOCKET
) -> str:
    """``ipc://`` in the user's runtime directory, else in ``/run/kwsd``."""
    environment = os.environ if environment is None else environment
    runtime = environment.get("XDG_RUNTIME_DIR")
    directory = Path(runtime) / "kwsd" if runtime else Path(SYSTEM_RUNTIME_DIRECTORY)
    return f"ipc://{directory / socket_name}"


def client_endpoint(
    environment: Mapping[str, str] | None = None, socket_name: str = EVENTS_SOCKET
) -> str:
    """Where a client finds kwsd: the user's own, else the system's where only that is there.

    Every login shell has a runtime directory, and the system's service binds elsewhere.
    """
    own, system = _default_places(environment, socket_name)
    if not os.path.exists(_path_of(own)) and _may_be_there(system):
        return system
    return own


def places_looked_at(endpoint: str, environment: Mapping[str, str] | None = None) -> str:
    """An endpoint for messages; where it is a default, with the other one and whether it is there.

    Parameters
    ----------
    endpoint : str
        Where a client has connected to.
    environment : mapping, optional
        Variables; None takes those of the process.
    """
    for socket_name in (EVENTS_SOCKET, CONTROL_SOCKET):
        places = _default_places(environment, socket_name)
        if endpoint not in places or len(set(places)) == 1:
            continue
        (other,) = set(places) - {endpoint}
        if _may_be_there(other):
            return f"{endpoint} (there is {other}, too: name it to use it)"
        return f"{endpoint} (nor is there {other})"
    return endpoint


def check_endpoint(endpoint: str, key: str = "bus.endpoint", encrypted: bool = False) -> None:
    """Refuse endpoints that would let strangers listen.

    Parameters
    ----------
    endpoint : str
        ``ipc:///path`` or ``tcp://host:port``; the host must be this machine's loopback.
    key : str
        Configuration key, for messages.
    encrypted : bool
        Any address is allowed then, but it must be TCP.

    Raises
    ------
    ConfigError
        Another transport, a bad port, or an address beyond loopback.
    """
    scheme, _, rest = endpoint.partition("://")
    if scheme == "ipc" and rest and not encrypted:
        if len(os.fsencode(rest)) > _LONGEST_SOCKET_PATH:
            raise ConfigError(
                f"{key} = {endpoint}: path is longer than {_LONGEST_SOCKET_PATH} bytes"
            )
        return
    if scheme != "tcp":
        raise ConfigError(f"{key} = {endpoint}: must be ipc:///path or tcp://127.0.0.1:port")
    host, _, port = rest.rpartition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ConfigError(f"{key} = {endpoint}: must end in a port from 1 to 65535")
    if not encrypted and not _is_loopback(host):
        raise ConfigError(
            f"{key} = {endpoint}: addresses beyond loopback need CURVE encryption; set "
            "bus.tcp_endpoint and bus.curve_key_file, or use tcp://127.0.0.1:port or ipc://"
        )


def check_control_endpoint(endpoint: str) -> None:
    """Refuse a control endpoint that strangers could open: only a path has an owner and a mode.

    Parameters
    ----------
    endpoint : str
        ``ipc:///path``; neither TCP, on loopback either, nor an abstract socket (``ipc://@name``).

    Raises
    ------
    ConfigError
        Another transport, or a path that is too long.
    """
    key = "bus.control_endpoint"
    if not endpoint.startswith("ipc://") or endpoint.startswith("ipc://@"):
        raise ConfigError(
            f"{key} = {endpoint}: must be ipc:///path, since whoever may open it may listen and "
            "command; leave it out for the runtime directory, and use kwsctl on the machine itself"
        )
    check_endpoint(endpoint, key)


def _default_places(environment: Mapping[str, str] | None, socket_name: str) -> tuple[str, str]:
    """The user's endpoint and the system's; the same where the user has no runtime directory."""
    return default_endpoint(environment, socket_name), default_endpoint({}, socket_name)


def _may_be_there(endpoint: str) -> bool:
    """Whether a socket is there, or in a folder that is closed to this user.

    The folder is the service's own and goes with it; the group of who may enter is said then.
    """
    try:
        _path_of(endpoint).stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _path_of(endpoint: str) -> Path:
    return Path(endpoint.removeprefix("ipc://"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        # Any name could be made to point elsewhere; "localhost" is the one that must not.
        return host == "localhost"
