"""Configuration schema: every key, its type, range and meaning, in one place.

A section is a frozen dataclass; a field made by `_key` is one configuration key. Units are in the
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

SENSITIVITIES = ("low", "medium", "high")
RUNTIME_NAMES = ("aipu", "litert", "ncnn")
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

    profile: str | None = _key(
        None,
        "string",
        "board profile: a shipped name or a file, from the folder of what names it; auto: none",
        auto=True,
    )
    mics: tuple[int, ...] | None = _key(
        None,
        "channels",
        "microphone channels, one or two, counted from 0; auto: the first two but the reference",
        low=0,
        auto=True,
    )
    reference: tuple[int, ...] | None = _key(
        None,
        "channels",
        "loudspeaker reference channel; [] for none; auto: 2 where there are three or more",
        low=0,
        auto=True,
    )
    backend: str = _key(
        "alsa", "string", "live: how the device is read", choices=("alsa", "portaudio")
    )
    device: str = _key("default", "string", "live: device by name; kwsd --list-devices")
    channels: int | None = _key(
        None,
        "int",
        "live: channels to open; auto: up to the highest one named, two at least if mics is auto",
        low=1,
        high=32,
        auto=True,
    )
    rate_hz: int = _key(16_000, "int", "live: sample rate of the device", low=8_000, high=192_000)
    period_ms: int | None = _key(
        None,
        "int",
        "live: length of one delivery; auto: 30 at 16 kHz, else 20",
        low=5,
        high=100,
        auto=True,
    )
    discard_ms: int = _key(
        150,
        "int",
        "live: thrown away after each open while the converter settles",
        low=0,
        high=2000,
    )
    realtime_priority: int = _key(
        0,
        "int",
        "live: SCHED_FIFO priority of the ALSA thread, up to 20 in the unit; 0: none",
        low=0,
        high=50,
    )


@dataclass(frozen=True, slots=True)
class FrontEndSettings:
    """The DSP stage; each piece can be switched off."""

    backend: str = _key(
        "auto",
        "string",
        "auto: native core, or numpy where it is not built",
        choices=("auto", "native", "numpy"),
    )
    dc_block: bool = _key(True, "bool", "high-pass at 20 Hz on every channel")
    aec: bool = _key(True, "bool", "echo cancellation, where there is a reference")
    tail_ms: int = _key(
        320, "int", "length of the echo path after the bulk delay", low=32, high=512
    )
    delay_search_ms: int = _key(
        500, "int", "largest bulk delay of the echo; 0: no search", low=0, high=500
    )
    drift: bool = _key(
        True, "bool", "follow a clock drift between reference and microphones, up to 300 ppm"
    )
    combine: bool = _key(
        True, "bool", "two microphones: cancel what the second predicts of the first"
    )
    mic_spacing_mm: int = _key(
        0, "int", "distance of two microphones, for the direction; 0: unknown", low=0, high=1000
    )
    suppress_echo: bool = _key(True, "bool", "residual-echo suppression in the voice branch")
    noise_reduction: bool = _key(True, "bool", "noise reduction in the voice branch")
    voice_branch: bool = _key(True, "bool", "compute the voice branch at all")


@dataclass(frozen=True, slots=True)
class WakeSettings:
    """From scores to wakes, for every keyword that has no setting of its own."""

    models: tuple[str, ...] = _key(
        ("computer",), "strings", "models: names, folders or .json files"
    )
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
    all_branches: bool = _key(
        True, "bool", "while the loudspeaker plays, listen to every branch of the front end"
    )
    near_miss_fraction: float = _key(
        0.5, "float", "part of the threshold above which a near miss is kept", low=0.05, high=1.0
    )


@dataclass(frozen=True, slots=True)
class KeywordSettings:
    """Overrides for one keyword; what is not set (None) is that of ``[wake]``."""

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

    order: tuple[str, ...] = _key(
        ("aipu", "litert"),
        "strings",
        "runtimes to try, first to last; behind aipu stands the next one that works",
        choices=RUNTIME_NAMES,
    )
    aipu_device: str = _key("/dev/aipu", "string", "AIPU: device node")
    aipu_library: str | None = _key(
        None, "string", "AIPU: driver library; auto: libaipudrv.so in the system", auto=True
    )
    aipu_target: str = _key("Z1_0701", "string", "AIPU: target that graphs are compiled for")
    aipu_start_limit_s: float = _key(
        5.0, "float", "AIPU: longest start of the engine", low=0.5, high=60.0
    )
    aipu_job_limit_low_ms: int = _key(
        35, "int", "AIPU: least limit of a job; in between: 5 x p99 at start", low=5, high=1000
    )
    aipu_job_limit_high_ms: int = _key(
        200, "int", "AIPU: greatest limit of a job", low=5, high=1000
    )
    aipu_late_job_ms: int = _key(
        500,
        "int",
        "AIPU: wait for a job that missed its limit, on the CPU meanwhile",
        low=0,
        high=10_000,
    )
    aipu_spot_check_steps: int = _key(
        50, "int", "AIPU: every so many steps also on the CPU; 1: all, 0: none", low=0, high=100_000
    )


@dataclass(frozen=True, slots=True)
class BusSettings:
    """ZeroMQ events."""

    endpoint: str | None = _key(
        None,
        "string",
        "ipc:// path or tcp:// on loopback; auto: $XDG_RUNTIME_DIR or /run, there kwsd/events.sock",
        auto=True,
    )
    control_endpoint: str | None = _key(
        None,
        "string",
        "ipc:// path of the control socket; auto: control.sock beside the default of bus.endpoint",
        auto=True,
    )
    tcp_endpoint: str | None = _key(
        None, "string", "tcp:// address for other machines, encrypted; auto: none", auto=True
    )
    curve_key_file: str = _key(
        "/etc/kwsd/bus.key_secret", "string", "secret key of bus.tcp_endpoint; kwsctl keygen"
    )
    curve_clients_directory: str = _key(
        "/etc/kwsd/clients", "string", "folder with the public *.key files of allowed clients"
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
class PreRollSettings:
    """Audio of before a wake, for a recogniser."""

    length_s: float = _key(
        5.0, "float", "live: voice branch kept for kwsctl and recognisers; 0: none", low=0, high=60
    )


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Numbers for a monitoring system."""

    port: int = _key(
        0, "int", "live: OpenMetrics on 127.0.0.1 at this port; 0: off", low=0, high=65_535
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
    "preroll": PreRollSettings,
    "metrics": MetricsSettings,
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


def split_keyword(name: str) -> tuple[str, str] | None:
    """Keyword and key of a full name in ``[keyword.NAME]``; a keyword may hold dots."""
    section, _, rest = name.partition(".")
    keyword, _, key = rest.rpartition(".")
    return (keyword, key) if section == KEYWORD_SECTION and keyword else None


def find_key(name: str) -> Key | None:
    """Key of a full name, None if there is none."""
    parts = split_keyword(name)
    return KEYS.get(name) if parts is None else keyword_keys(parts[0]).get(name)
