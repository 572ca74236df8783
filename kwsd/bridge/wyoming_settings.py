"""Settings of the Wyoming bridge."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from kwsd.bridge.settings import BridgeSettings, check_host, option
from kwsd.errors import ConfigError

# As Home Assistant knows them; the end of a pipeline is what it calls intent at "handle".
_STAGES = ("asr", "handle", "tts")


@dataclass(frozen=True, slots=True)
class WyomingSettings(BridgeSettings):
    """Where to listen and how a stream ends."""

    uri: str = option("tcp://127.0.0.1:10700", "string")
    """``tcp://address:port`` or ``unix:///path``. The protocol has no password."""

    name: str = option("", "string")
    """Of the satellite; empty: the machine's name."""

    area: str = option("", "string")
    """Room that is proposed to the client; empty: none."""

    end_stage: str = option("handle", "string")
    """Last stage of the pipeline: asr, handle or tts."""

    stream_limit_s: float = option(15.0, "float", 1, 300)
    """Longest stream behind one wake."""

    silence_limit_s: float = option(3.0, "float", 0.5, 60)
    """A stream ends when kwsd has had no audio for so long."""

    def check(self) -> None:
        """Refuse what would only fail later."""
        BridgeSettings.check(self)
        if self.end_stage not in _STAGES:
            raise ConfigError(f"end_stage = {self.end_stage!r}: use {', '.join(_STAGES)}")
        if not self.control.startswith("ipc://"):
            raise ConfigError(
                f"control_endpoint = {self.control}: must be ipc:///path; this bridge fetches "
                "audio, so it runs on the daemon's machine"
            )
        address = self.address()
        if not isinstance(address, str):
            check_host("uri", address[0])

    def address(self) -> str | tuple[str, int]:
        """Path of a Unix socket, or address and port; raises `ConfigError`."""
        try:
            parts = urlsplit(self.uri)
            if parts.scheme == "unix" and parts.path:
                return parts.path
            if parts.scheme == "tcp" and parts.hostname and parts.port is not None:
                return parts.hostname, parts.port
        except ValueError:
            pass
        raise ConfigError(f"uri = {self.uri!r}: must be tcp://address:port or unix:///path")
