"""CURVE: an encrypted endpoint that only clients with a known key may use.

Mechanism: ZeroMQ RFC 26 (CurveZMQ) and RFC 27 (ZAP). Knowing the server's key is not enough: every
client has its own pair, and the folder of public keys is the list of those who may connect.
"""

from __future__ import annotations

import grp
import logging
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from kwsd.config_files import SYSTEM_DIRECTORY
from kwsd.config_schema import BusSettings
from kwsd.errors import ConfigError, MissingFileError, RuntimeUnavailable
from kwsd.sink.curve_key import load_key
from kwsd.sink.endpoint import check_endpoint

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

log = logging.getLogger(__name__)

KEY_SUFFIX = ".key"
_DOMAIN = "kwsd"


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
    secured : SecuredEndpoint
        Keys.

    Raises
    ------
    ConfigError, MissingFileError
        Key or folder is missing, unreadable or open to others.
    RuntimeUnavailable
        libzmq without CURVE.
    """

    def __init__(self, secured: SecuredEndpoint) -> None:
        if not zmq.has("curve"):
            raise RuntimeUnavailable(
                f"bus.tcp_endpoint = {secured.endpoint} needs a libzmq with CURVE (libsodium)"
            )
        self._public, self._secret = _server_pair(secured.key_file)
        self._clients = _Clients(secured.clients)
        self._authenticator: ThreadAuthenticator | None = None

    def start(self, context: zmq.Context[Any]) -> None:
        """Guard the sockets of a context; before they are bound."""
        # Here, since it brings asyncio along: 4 MB that a daemon without a remote bus saves.
        from zmq.auth.thread import ThreadAuthenticator

        self._authenticator = ThreadAuthenticator(context)
        # Not its configure_curve: that only logs what it cannot read, and goes on with what it had.
        self._authenticator.configure_curve_callback(_DOMAIN, self._clients)
        self._authenticator.start()

    def secure(self, channel: zmq.Socket[Any]) -> None:
        """Make a socket a CURVE server; before it is bound."""
        channel.setsockopt(zmq.CURVE_SERVER, 1)
        channel.setsockopt(zmq.CURVE_PUBLICKEY, self._public)
        channel.setsockopt(zmq.CURVE_SECRETKEY, self._secret)
        channel.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN.encode())

    def reload(self) -> None:
        """Read the folder of clients again; connections that stand are not cut.

        Raises
        ------
        ConfigError
            The folder or a key cannot be read; those who may connect stay the same.
        """
        self._clients.reload()

    def close(self) -> None:
        """Stop its thread; it may be started again."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None


class _Clients:
    """Who may connect: the keys in a folder, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: frozenset[bytes] = frozenset()
        self.reload()

    def reload(self) -> None:
        """Read the folder; raises `ConfigError` and changes nothing where that fails."""
        self._keys = _client_keys(self._folder)
        log.info("%d clients may use the encrypted bus", len(self._keys))

    def callback(self, domain: str, key: bytes) -> bool:
        """Answer pyzmq, on its thread, whether this key may connect."""
        return key in self._keys


def write_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a new pair of keys: ``NAME.key`` is public, ``NAME.key_secret`` is for its owner.

    The secret that root makes in ``/etc/kwsd`` is for the folder's group too, which is the daemon:
    it could not read it otherwise.

    Raises
    ------
    ConfigError
        There is one already, or the folder cannot be written.
    """
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    try:
        for path in (public, secret):
            if path.exists():
                raise ConfigError(f"{path} is there already; remove it or choose another name")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {error.strerror or error}") from None
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        # Nobody may read the secret in the moment between its making and its mode.
        secret.touch(mode=0o600)
        from zmq.auth import create_certificates

        create_certificates(str(folder), name)
        secret.chmod(0o600)
        if os.geteuid() == 0 and folder.resolve() == SYSTEM_DIRECTORY.resolve():
            os.chown(secret, -1, folder.stat().st_gid)
            secret.chmod(0o640)
    except OSError as error:
        # Half a pair would be in the way of the next, and of a daemon that reads the folder.
        for path in (public, secret):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from None
    return public, secret


def _server_pair(path: Path) -> tuple[bytes, bytes]:
    try:
        mode = path.stat().st_mode
        public, secret = load_key(path)
    except FileNotFoundError:
        raise MissingFileError(
            f"bus.curve_key_file = {path}: no such file; make one, as root, with "
            f"kwsctl keygen {path.name.removesuffix('.key_secret')} --directory {path.parent}"
        ) from None
    except PermissionError:
        raise ConfigError(f"bus.curve_key_file = {_refused(path, 640)}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"bus.curve_key_file = {path} cannot be read: {_reason(error)}; "
            "name the .key_secret file that kwsctl keygen made"
        ) from None
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


def _client_keys(folder: Path) -> frozenset[bytes]:
    """The public keys in a folder; raises `ConfigError` for the first that cannot be read."""
    try:
        # Names that start with a dot are those of editors and of copies under way.
        paths = sorted(
            path
            for path in folder.iterdir()
            if path.suffix == KEY_SUFFIX and not path.name.startswith(".")
        )
    except PermissionError:
        raise ConfigError(f"bus.curve_clients_directory = {_refused(folder, 750)}") from None
    except OSError as error:
        raise ConfigError(
            f"bus.curve_clients_directory = {folder} cannot be read: {error.strerror}; create it "
            "and put each client's .key file there"
        ) from None
    keys = set()
    for path in paths:
        try:
            keys.add(load_key(path)[0])
        except PermissionError:
            raise ConfigError(f"bus.curve_clients_directory: {_refused(path, 640)}") from None
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"bus.curve_clients_directory: {path} cannot be read: {_reason(error)}; "
                "copy it again, or remove it"
            ) from None
    return frozenset(keys)


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _refused(path: Path, mode: int) -> str:
    """What to say of a file or folder that this process may not read; `mode` is octal digits."""
    try:
        group = grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        group = str(os.getegid())
    return (
        f"{path} may not be read by this process; as root: chgrp {group} {path} && "
        f"chmod {mode} {path}; its folder must let the group {group} in, too"
    )
