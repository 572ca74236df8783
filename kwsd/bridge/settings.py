"""Settings of a bridge: a TOML file and the environment, never the command line.

What is on a command line can be read by every user of the machine, so passwords have no flag.
"""

from __future__ import annotations

import difflib
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from kwsd.errors import ConfigError, MissingFileError
from kwsd.sink.endpoint import CONTROL_SOCKET, client_endpoint
from kwsd.toml_file import parse_toml, shown_key

Settings = TypeVar("Settings", bound="BridgeSettings")

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


def option(default: object, kind: str, low: float | None = None, high: float | None = None) -> Any:
    """One setting: ``kind`` is string, strings, secret, path, bool, int or float."""
    return field(default=default, metadata={"kind": kind, "low": low, "high": high})


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """What every bridge needs to know of the daemon."""

    bus_endpoint: str = option("", "string")
    """Event socket; empty: where kwsd binds if nothing is configured (`client_endpoint`)."""

    control_endpoint: str = option("", "string")
    """Control socket; empty: the same."""

    curve_key_file: Path | None = option(None, "path")
    """This client's pair (``.key_secret``), for an encrypted ``tcp://`` bus."""

    curve_server_key_file: Path | None = option(None, "path")
    """The daemon's public key (``.key``)."""

    @property
    def bus(self) -> str:
        """Event socket to connect to."""
        return self.bus_endpoint or client_endpoint()

    @property
    def control(self) -> str:
        """Control socket to connect to."""
        return self.control_endpoint or client_endpoint(socket_name=CONTROL_SOCKET)

    def check(self) -> None:
        """Refuse what single values cannot show; raises `ConfigError`."""
        if (self.curve_key_file is None) != (self.curve_server_key_file is None):
            raise ConfigError("curve_key_file and curve_server_key_file: set both or neither")


def load_settings(
    made: type[Settings],
    name: str,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Settings of a bridge; the environment wins over the file.

    Parameters
    ----------
    made : type
        Dataclass whose fields are made by `option`.
    name : str
        Such as ``mqtt``: the file is ``/etc/kwsd/mqtt.toml``, a variable ``KWSD_MQTT_HOST``.
    file : Path, optional
        Read in place of the installed file, which need not exist.
    environment : mapping, optional
        None takes that of the process.

    Raises
    ------
    ConfigError
        A file that is no TOML, an unknown setting, a value of the wrong kind or range.
    MissingFileError
        A file that was named is not there.
    """
    environment = os.environ if environment is None else environment
    path = file or Path(f"/etc/kwsd/{name}.toml")
    table = _read(path, required=file is not None)
    kinds = {entry.name: entry for entry in fields(made)}
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in kinds:
            similar = _similar(key, list(kinds))
            raise ConfigError(f"{path}: {shown_key(key)} is not a setting{similar}")
        if kinds[key].metadata["kind"] == "secret":
            _refuse_readable(path, key)
        values[key] = _checked(f"{path}: {key}", value, kinds[key].metadata)
    prefix = f"KWSD_{name.upper()}_"
    for variable in sorted(environment):
        if not variable.startswith(prefix):
            continue
        key = variable.removeprefix(prefix).lower()
        if key not in kinds:
            raise ConfigError(f"{variable} is not a setting{_similar(key, list(kinds))}")
        metadata = kinds[key].metadata
        values[key] = _checked(variable, _parsed(environment[variable], metadata["kind"]), metadata)
    unset = [key for key, entry in kinds.items() if entry.default is MISSING and key not in values]
    assert not unset, "every setting has a default"
    settings = made(**values)  # type: ignore[arg-type]
    settings.check()
    return settings


def node_name() -> str:
    """Name of this machine in letters, digits, ``_`` and ``-``."""
    name = socket.gethostname().split(".")[0]
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name) or "kwsd"


def check_host(key: str, host: str) -> None:
    """Refuse what no resolver takes; Python's raises UnicodeError for it, in whatever thread."""
    good = bool(host) and host.isprintable() and " " not in host
    try:
        # This is what socket.getaddrinfo() does first.
        host.encode("idna")
    except UnicodeError:
        good = False
    if not good:
        raise ConfigError(
            f"{key} = {host[:80]!r}: must be a name or address such as broker.local or "
            "192.168.1.5, each part between dots 1 to 63 characters long"
        )


def secret_from_file(path: Path, key: str) -> str:
    """First line of a file that only its owner (and group) may read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise MissingFileError(f"{key} = {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key} = {path} cannot be read: {error}") from None
    _refuse_readable(path, key)
    if not lines or not lines[0]:
        raise ConfigError(f"{key} = {path}: its first line must be the password")
    return lines[0]


def _read(path: Path, required: bool) -> dict[str, object]:
    try:
        return parse_toml(path.read_bytes(), str(path))
    except FileNotFoundError:
        if required:
            raise MissingFileError(f"--config {path}: no such file") from None
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _refuse_readable(path: Path, key: str) -> None:
    mode = path.stat().st_mode
    if mode & stat.S_IRWXO:
        raise ConfigError(
            f"{path} holds {key} and is open to others (mode {stat.S_IMODE(mode):o}); "
            f"chmod 640 {path}"
        )


def _similar(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def _parsed(text: str, kind: str) -> object:
    """A variable's text as the TOML value that it stands for; unchanged where it is none."""
    if kind == "bool" and text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    if kind == "strings":
        return [word.strip() for word in text.split(",") if word.strip()]
    try:
        return {"int": int, "float": float}[kind](text)
    except (KeyError, ValueError):
        return text


def _checked(where: str, value: object, metadata: Mapping[str, Any]) -> object:
    kind, low, high = metadata["kind"], metadata["low"], metadata["high"]
    shown = "" if kind == "secret" else f" = {str(value)[:60]!r}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        "bool": isinstance(value, bool),
        "int": number and isinstance(value, int),
        "float": number,
        "strings": isinstance(value, list) and all(isinstance(word, str) for word in value),
    }.get(kind, isinstance(value, str))
    if not fits:
        allowed = {"bool": "true or false", "strings": "a list of strings", "path": "a path"}
        raise ConfigError(f"{where}{shown}: must be {allowed.get(kind, f'of kind {kind}')}")
    if low is not None and high is not None:
        assert isinstance(value, int | float)
        if not low <= value <= high:
            raise ConfigError(f"{where}{shown}: must be {low:g} to {high:g}")
    if kind == "path":
        return Path(str(value))
    return tuple(value) if isinstance(value, list) else value
