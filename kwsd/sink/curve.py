"""CURVE: an encrypted endpoint that only clients with a known key may use.

Mechanism: ZeroMQ RFC 26 (CurveZMQ) and RFC 27 (ZAP). Knowing the server's key is not enough: every
client has its own pair, and the folder of public keys is the list of those who may connect.
"""

from __future__ import annotations

import logging
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from kwsd.config_schema import BusSettings
from kwsd.errors import ConfigError, MissingFileError, RuntimeUnavailable
from kwsd.sink.endpoint import check_endpoint

log = logging.getLogger(__name__)

KEY_SUFFIX = ".key"


@dataclass(frozen=True, slots=True)
class SecuredEndpoint:
    """An encrypted endpoint."""

    endpoint: str
    """``tcp://address:port``."""

    key_file: Path
    """The server's pair, readable by the daemon only."""

    clients: Path
    """Folder with the public keys of those who may connect."""


def secured_endpoint(settings: BusSettings) -> SecuredEndpoint | None:
    """The encrypted endpoint of a configuration, None if there is none.

    Raises
    ------
    ConfigError
        Not a TCP address.
    """
    if settings.tcp_endpoint is None:
        return None
    check_endpoint(settings.tcp_endpoint, "bus.tcp_endpoint", encrypted=True)
    return SecuredEndpoint(
        settings.tcp_endpoint,
        Path(settings.curve_key_file),
        Path(settings.curve_clients_directory),
    )


class CurveGate:
    """Checks who connects.

    Parameters
    ----------
    context : zmq.Context
        Of the sockets that it guards.
    secured : SecuredEndpoint
        Keys.

    Raises
    ------
    ConfigError, MissingFileError
        Key or folder is missing, unreadable or open to others.
    RuntimeUnavailable
        libzmq without CURVE.
    """

    def __init__(self, context: zmq.Context[Any], secured: SecuredEndpoint) -> None:
        # Here, since it brings asyncio along: 4 MB that a daemon without a remote bus saves.
        from zmq.auth.thread import ThreadAuthenticator

        if not zmq.has("curve"):
            raise RuntimeUnavailable(
                f"bus.tcp_endpoint = {secured.endpoint} needs a libzmq with CURVE (libsodium)"
            )
        self._public, self._secret = _server_pair(secured.key_file)
        self._clients = secured.clients
        _count_clients(self._clients)
        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self.reload()

    def secure(self, channel: zmq.Socket[Any]) -> None:
        """Make a socket a CURVE server; before it is bound."""
        channel.setsockopt(zmq.CURVE_SERVER, 1)
        channel.setsockopt(zmq.CURVE_PUBLICKEY, self._public)
        channel.setsockopt(zmq.CURVE_SECRETKEY, self._secret)
        channel.setsockopt(zmq.ZAP_DOMAIN, b"kwsd")

    def reload(self) -> None:
        """Read the folder of clients again; connections that stand are not cut."""
        log.info("%d clients may use the encrypted bus", _count_clients(self._clients))
        self._authenticator.configure_curve(domain="kwsd", location=str(self._clients))

    def close(self) -> None:
        """Stop its thread."""
        self._authenticator.stop()


def write_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a new pair of keys: ``NAME.key`` is public, ``NAME.key_secret`` is for its owner.

    Raises
    ------
    ConfigError
        There is one already, or the folder cannot be written.
    """
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    for path in (public, secret):
        if path.exists():
            raise ConfigError(f"{path} is there already; remove it or choose another name")
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        # Nobody may read the secret in the moment between its making and its mode.
        secret.touch(mode=0o600)
        from zmq.auth import create_certificates

        create_certificates(str(folder), name)
        secret.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from None
    return public, secret


def _server_pair(path: Path) -> tuple[bytes, bytes]:
    try:
        mode = path.stat().st_mode
        from zmq.auth import load_certificate

        public, secret = load_certificate(str(path))
    except FileNotFoundError:
        raise MissingFileError(
            f"bus.curve_key_file = {path}: no such file; make one with "
            f"kwsctl keygen {path.name.removesuffix('.key_secret')} --directory {path.parent}"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"bus.curve_key_file = {path} cannot be read: {error}") from None
    if secret is None:
        raise ConfigError(
            f"bus.curve_key_file = {path} holds no secret key; name the .key_secret file"
        )
    if mode & (stat.S_IRWXG & ~stat.S_IRGRP | stat.S_IRWXO):
        raise ConfigError(
            f"bus.curve_key_file = {path} is open to others (mode {stat.S_IMODE(mode):o}); "
            f"chmod 640 {path}"
        )
    return public, secret


def _count_clients(folder: Path) -> int:
    try:
        return sum(path.suffix == KEY_SUFFIX for path in folder.iterdir())
    except OSError as error:
        raise ConfigError(
            f"bus.curve_clients_directory = {folder} cannot be read: {error.strerror}; create it "
            "and put each client's .key file there"
        ) from None
