"""CURVE at a client: its own pair and the daemon's public key, for the encrypted endpoint.

Shared by the bridges and ``kwsctl events``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from kwsd.errors import ConfigError, MissingFileError, RuntimeUnavailable
from kwsd.sink.curve_key import KEY_CHARACTERS, DamagedKeyError, load_key


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with a key, as messages name it."""

    setting: str
    """What named it, such as ``--key-file`` or ``curve_key_file =``."""

    path: Path
    """Where it is."""

    def __str__(self) -> str:
        return f"{self.setting} {self.path}"


def secure_client(channel: zmq.Socket[Any], own: KeyFile, server: KeyFile) -> None:
    """Make a socket a CURVE client; before it is connected.

    Parameters
    ----------
    channel : zmq.Socket
        Of any kind.
    own : KeyFile
        The client's pair, ``.key_secret``.
    server : KeyFile
        The daemon's public key, ``.key``.

    Raises
    ------
    ConfigError, MissingFileError
        A key is missing, cannot be read or is damaged.
    RuntimeUnavailable
        libzmq without CURVE.
    """
    if not zmq.has("curve"):
        raise RuntimeUnavailable(f"{own} needs a libzmq with CURVE (libsodium)")
    public, secret = _load(own, "make a pair with kwsctl keygen")
    if secret is None:
        raise ConfigError(f"{own} holds no secret key; name the .key_secret file")
    server_public, _ = _load(server, "copy it from the daemon's machine, /etc/kwsd/bus.key there")
    _set(channel, zmq.CURVE_PUBLICKEY, public, own)
    _set(channel, zmq.CURVE_SECRETKEY, secret, own)
    _set(channel, zmq.CURVE_SERVERKEY, server_public, server)


def _load(file: KeyFile, remedy: str) -> tuple[bytes, bytes | None]:
    try:
        return load_key(file.path)
    except FileNotFoundError:
        raise MissingFileError(f"{file}: no such file; {remedy}") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from None
    except DamagedKeyError:
        raise _damaged(file) from None
    except ValueError:
        raise ConfigError(
            f"{file} holds no key; name a file that kwsctl keygen made, or copy it again"
        ) from None


def _set(channel: zmq.Socket[Any], option: int, key: bytes, file: KeyFile) -> None:
    try:
        channel.setsockopt(option, key)
    except zmq.ZMQError:
        # Z85 has groups of characters that stand for no number.
        raise _damaged(file) from None


def _damaged(file: KeyFile) -> ConfigError:
    return ConfigError(
        f"{file} holds a damaged key, not {KEY_CHARACTERS} characters of Z85; copy it again"
    )
