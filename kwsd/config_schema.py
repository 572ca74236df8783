"""Configuration schema: every key, its type, range and meaning, in one place.

A section is a frozen dataclass; a field made by `_key` is one configuration key. Units are in the
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

SENSITIVITIES = ("low", "medium", "high")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Key:
    """What one configuration key accepts."""

    name: str
    """Full name, ``section.key``."""

    kind: str
    """bool, int, float, string, strings or channels (a list of channel numbers)."""

    default: object
    """Value where nothing is set."""

    low: float | None
    """Smallest number allowed."""

    high: float | None
    """Largest number allowed."""

    choices: tuple[str, ...]
    """Strings allowed; empty: any."""

    auto: bool
    """True if the word "auto" is allowed and read as None."""

    doc: str
    """One line for people."""


def _key(
    default: object,
    kind: str,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    auto: bool = False,
) -> Any:
    facts = {"kind": kind, "low": low, "high": high, "choices": choices, "auto": auto, "doc": doc}
    return field(default=default, metadata=facts)


@dataclass(frozen=True, slots=True)
class AudioSettings:
    """Which channels are what."""

    mics: tuple[int, ...] | None = _key(
        None, "channels", "microphone channels, one or two, counted from 0", low=0, auto=True
    )
    reference: tuple[int, ...] | None = _key(
        None, "channels", "loudspeaker reference channel; [] for none", low=0, auto=True
    )


@dataclass(frozen=True, slots=True)
class FrontEndSettings:
    """The DSP stage; each piece can be switched off."""

    dc_block: bool = _key(True, "bool", "high-pass at 20 Hz on every channel")
    aec: bool = _key(True, "bool", "echo cancellation, where there is a reference")
    tail_ms: int = _key(
        320, "int", "length of the echo path behind the bulk delay", low=32, high=512
    )
    delay_search_ms: int = _key(
        500, "int", "largest bulk delay of the echo; 0: no search", low=0, high=500
    )
    suppress_echo: bool = _key(True, "bool", "residual-echo suppression in the voice branch")
    noise_reduction: bool = _key(True, "bool", "noise reduction in the voice branch")
    voice_branch: bool = _key(True, "bool", "compute the voice branch at all")


@dataclass(frozen=True, slots=True)
class WakeSettings:
    """From scores to wakes, for every keyword that has no setting of its own."""

    models: tuple[str, ...] = _key(("computer",), "strings", "model packages: names or folders")
    sensitivity: str = _key(
        "medium", "string", "operating point of the package", choices=SENSITIVITIES
    )
    threshold: float | None = _key(
        None,
        "float",
        "smoothed score that wakes; auto: by sensitivity",
        low=0.01,
        high=1.0,
        auto=True,
    )
    rearm_fraction: float = _key(
        0.6, "float", "part of the threshold below which the next wake is armed", low=0.05, high=1.0
    )
    refractory_s: float = _key(
        1.5, "float", "shortest time between two wakes of one keyword", low=0.0, high=60.0
    )
    level_gate_dbfs: float = _key(
        -70.0, "float", "sound quieter than this never wakes", low=-120.0, high=0.0
    )
    reference_rule: bool = _key(
        True, "bool", "no wake from a word that the loudspeaker itself says"
    )
    near_miss_fraction: float = _key(
        0.5, "float", "part of the threshold above which a near miss is kept", low=0.05, high=1.0
    )


@dataclass(frozen=True, slots=True)
class KeywordSettings:
    """``[keyword.NAME]``: overrides for one keyword; None takes the value from ``[wake]``."""

    sensitivity: str | None = _key(
        None, "string", "operating point of the package", choices=SENSITIVITIES
    )
    threshold: float | None = _key(
        None, "float", "smoothed score that wakes", low=0.01, high=1.0, auto=True
    )
    refractory_s: float | None = _key(
        None, "float", "shortest time between two wakes", low=0.0, high=60.0
    )


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """Which inference runtime."""

    order: tuple[str, ...] = _key(("litert",), "strings", "runtimes to try, first to last")


@dataclass(frozen=True, slots=True)
class BusSettings:
    """ZeroMQ events."""

    endpoint: str | None = _key(
        None, "string", "ipc:// path or tcp:// on loopback; auto: runtime directory", auto=True
    )
    send_queue_messages: int = _key(
        100, "int", "messages held for a slow subscriber", low=1, high=10_000
    )
    linger_ms: int = _key(
        500, "int", "time to deliver the last messages at exit", low=0, high=10_000
    )
    wait_subscriber_s: float = _key(
        0.0, "float", "replay: wait this long for a first subscriber", low=0.0, high=3600.0
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Messages on standard error."""

    level: str = _key("warning", "string", "least severe message shown", choices=LOG_LEVELS)


SECTIONS: Mapping[str, type[Any]] = {
    "audio": AudioSettings,
    "dsp": FrontEndSettings,
    "wake": WakeSettings,
    "runtime": RuntimeSettings,
    "bus": BusSettings,
    "log": LogSettings,
}

KEYWORD_SECTION = "keyword"


def section_keys(prefix: str, section: type[Any]) -> dict[str, Key]:
    """Keys of one section dataclass, by full name."""
    keys = {}
    for item in fields(section):
        name = f"{prefix}.{item.name}"
        keys[name] = Key(name=name, default=item.default, **item.metadata)
    return keys


KEYS: Mapping[str, Key] = {
    name: key for prefix, cls in SECTIONS.items() for name, key in section_keys(prefix, cls).items()
}
"""Every key with a fixed name."""


def keyword_keys(keyword: str) -> dict[str, Key]:
    """Keys of ``[keyword.NAME]``."""
    return section_keys(f"{KEYWORD_SECTION}.{keyword}", KeywordSettings)


def find_key(name: str) -> Key | None:
    """Key of a full name, None if there is none."""
    parts = name.split(".")
    if len(parts) == 3 and parts[0] == KEYWORD_SECTION and parts[1]:
        return keyword_keys(parts[1]).get(name)
    return KEYS.get(name)
