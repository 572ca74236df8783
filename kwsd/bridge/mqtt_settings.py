"""Settings of the MQTT bridge."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kwsd.bridge.discovery import Topics
from kwsd.bridge.settings import (
    BridgeSettings,
    check_host,
    node_name,
    option,
    secret_from_file,
)
from kwsd.errors import ConfigError, MissingFileError

_LONGEST_PREFIX = 200
_PORT, _TLS_PORT = 1883, 8883


@dataclass(frozen=True, slots=True)
class MqttSettings(BridgeSettings):
    """Broker, credentials and topics."""

    host: str = option("localhost", "string")
    """Broker."""

    port: int = option(0, "int", 0, 65535)
    """0: 1883, or 8883 with TLS."""

    username: str = option("", "string")
    """Empty: none."""

    password: str = option("", "secret")
    """The file that holds it must not be open to others."""

    password_file: Path | None = option(None, "path")
    """Its first line is the password."""

    client_id: str = option("", "string")
    """Empty: ``kwsd-NODE``. Two clients with one id throw each other out."""

    tls: bool = option(False, "bool")
    """Encrypt; the broker's certificate is always checked."""

    tls_ca_file: Path | None = option(None, "path")
    """Who signed the broker's certificate; none: the system's authorities."""

    tls_certificate_file: Path | None = option(None, "path")
    """This client's certificate, where the broker asks for one."""

    tls_key_file: Path | None = option(None, "path")
    """Its key."""

    topic_prefix: str = option("kwsd", "string")
    """Topics are ``PREFIX/NODE/...``."""

    discovery_prefix: str = option("homeassistant", "string")
    """Empty: no discovery."""

    node: str = option("", "string")
    """This daemon among others; empty: the machine's name."""

    keywords: tuple[str, ...] = option((), "strings")
    """Device triggers to announce before they are first heard."""

    retry_limit_s: float = option(60.0, "float", 1, 3600)
    """Longest wait between two tries to reach the broker."""

    def check(self) -> None:
        """Refuse what would only fail later."""
        BridgeSettings.check(self)
        check_prefix("topic_prefix", self.topic_prefix)
        if self.discovery_prefix:
            check_prefix("discovery_prefix", self.discovery_prefix)
        check_host("host", self.host)
        if self.node and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.node):
            raise ConfigError(f"node = {self.node!r}: letters, digits, _ and -, 64 at most")
        if self.password and self.password_file is not None:
            raise ConfigError("password and password_file: set one of them")
        if (self.password or self.password_file is not None) and not self.username:
            raise ConfigError("a password needs a username")
        tls_files = {
            "tls_ca_file": self.tls_ca_file,
            "tls_certificate_file": self.tls_certificate_file,
            "tls_key_file": self.tls_key_file,
        }
        for key, path in tls_files.items():
            if path is None:
                continue
            if not self.tls:
                raise ConfigError(f"{key} is set but tls is not; set tls = true")
            try:
                there = path.is_file()
            except OSError as error:
                raise ConfigError(
                    f"{key} = {path} cannot be read: {error.strerror or error}; let the user of "
                    "the bridge enter its folder and read it"
                ) from None
            if not there:
                raise MissingFileError(f"{key} = {path}: no such file")

    @property
    def topics(self) -> Topics:
        """Where to publish."""
        return Topics(self.topic_prefix, self.node or node_name())

    @property
    def broker_port(self) -> int:
        """Port to connect to."""
        return self.port or (_TLS_PORT if self.tls else _PORT)

    def secret(self) -> str | None:
        """The password, None where there is no user."""
        if self.password_file is not None:
            return secret_from_file(self.password_file, "password_file")
        return self.password or None


def check_prefix(key: str, prefix: str) -> None:
    """Refuse what the broker would refuse, or what would hide messages; raises `ConfigError`."""
    levels = prefix.split("/")
    bad = [c for c in prefix if c in "+#" or not c.isprintable()]
    if bad or not all(levels) or prefix.startswith("$") or len(prefix.encode()) > _LONGEST_PREFIX:
        raise ConfigError(
            f"{key} = {prefix[:60]!r}: must be levels such as home/voice, without + and #, no $ at "
            f"its start, no slash at either end, {_LONGEST_PREFIX} bytes at most"
        )
