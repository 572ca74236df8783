"""Configuration: layers of TOML files, variables and flags become one checked `Config`.

Order, each layer over the one before: defaults, the board profile that ``audio.profile`` names,
``/etc/kwsd/kwsd.toml``, the user's
``$XDG_CONFIG_HOME/kwsd/kwsd.toml``, ``conf.d/*.toml`` beside each of them, variables ``KWSD_…``,
flags. ``--config FILE`` takes the place of all files. An installed file that the user may not read
is left out with a warning, so that whoever is not in the daemon's group can still replay.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kwsd.config_files import SYSTEM_DIRECTORY, read_installed, read_named
from kwsd.config_schema import (
    KEYS,
    KEYWORD_SECTION,
    SECTIONS,
    AudioSettings,
    BusSettings,
    FrontEndSettings,
    Key,
    KeywordSettings,
    LogSettings,
    MetricsSettings,
    PreRollSettings,
    RuntimeSettings,
    WakeSettings,
    find_key,
    keyword_keys,
    split_keyword,
)
from kwsd.config_value import check_value, parse_text, to_toml
from kwsd.errors import ConfigError, UsageError
from kwsd.model.toml_text import key_text
from kwsd.profile import load_profile, names_file
from kwsd.toml_file import shown_key

DEFAULT_ORIGIN = "default"
_ENV_PREFIX = "KWSD_"
_OTHERS_PREFIXES = ("KWSD_MQTT_", "KWSD_WYOMING_")
"""Variables of the bridges, which may stand in the same environment."""

_OTHERS_VARIABLES = ("KWSD_AIPU_CYCLES",)
"""Of the test with the AIPU double."""

_ATTRIBUTES = {"dsp": "frontend"}
"""Sections whose name for users is not their name in `Config`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from."""

    value: object
    """Checked value."""

    origin: str
    """``default``, a profile, a file, a variable or a flag."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, checked."""

    audio: AudioSettings
    frontend: FrontEndSettings
    wake: WakeSettings
    runtime: RuntimeSettings
    bus: BusSettings
    preroll: PreRollSettings
    metrics: MetricsSettings
    log: LogSettings

    keywords: Mapping[str, KeywordSettings]
    """``[keyword.NAME]`` sections by name."""

    settings: Mapping[str, Setting]
    """Every key with its origin, in the order of the schema."""

    unread: tuple[Path, ...] = ()
    """Installed files and folders that this user may not read: what they say is not in here."""

    def keyword(self, name: str) -> KeywordSettings:
        """Overrides of one keyword."""
        return self.keywords.get(name, KeywordSettings())


def load_config(
    *,
    file: Path | None = None,
    flags: Sequence[tuple[str, str, str]] = (),
    models: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    system_directory: Path = SYSTEM_DIRECTORY,
) -> Config:
    """Read and check every layer.

    Parameters
    ----------
    file : Path, optional
        ``--config``: read this instead of the installed files.
    flags : sequence of (key, text, origin)
        From the command line, in order.
    models : sequence of str, optional
        ``--model``: takes the place of ``wake.models``.
    environment : mapping, optional
        Variables; None takes those of the process.
    system_directory : Path
        Where the system's files are.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        Unknown key, wrong type, value out of range, a file that is not TOML, or a `file` that
        cannot be read.
    MissingFileError
        `file` is not there.
    """
    environment = os.environ if environment is None else environment
    settings = {name: Setting(key.default, DEFAULT_ORIGIN) for name, key in KEYS.items()}
    unread: tuple[Path, ...] = ()
    if file is not None:
        tables = [(file, read_named(file))]
    else:
        tables, unread = read_installed(environment, system_directory)
    for path, table in tables:
        for name, value in _flatten(table):
            settings[name] = _set(name, _beside(path, name, value), str(path))
    for name, text, origin in (*_from_environment(environment), *flags):
        key = _known(name, origin)
        settings[name] = _set(name, parse_text(key, text), origin)
    if models:
        settings["wake.models"] = _set("wake.models", list(models), "--model")
    _add_profile(settings)
    return _build(settings, unread)


def default_config() -> Config:
    """Every key at its default."""
    return _build({name: Setting(key.default, DEFAULT_ORIGIN) for name, key in KEYS.items()})


def parse_flag(text: str) -> tuple[str, str, str]:
    """Split ``--set key=value`` into (key, text, origin)."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set {text}: write it as key=value, for example wake.sensitivity=high")
    return name.strip(), value, "--set"


def print_config(config: Config) -> str:
    """The configuration as TOML, each value's origin in a comment."""
    sections: dict[str, list[str]] = {}
    for name, setting in config.settings.items():
        section, _, key = name.rpartition(".")
        line = f"{key} = {to_toml(setting.value)}  # {setting.origin}"
        sections.setdefault(_header(name, section), []).append(line)
    return "\n\n".join("\n".join([head, *lines]) for head, lines in sections.items()) + "\n"


def _header(name: str, section: str) -> str:
    keyword = split_keyword(name)
    if keyword is None:
        return f"[{section}]"
    return f"[{KEYWORD_SECTION}.{key_text(keyword[0])}]"


def _add_profile(settings: dict[str, Setting]) -> None:
    """Values of the board profile, where nobody has set anything."""
    chosen = settings["audio.profile"].value
    if chosen is None:
        return
    profile = load_profile(str(chosen))
    for name, value in profile.values.items():
        setting = _set(name, value, profile.origin)
        if settings[name].origin == DEFAULT_ORIGIN:
            settings[name] = setting


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Variables ``KWSD_SECTION_KEY``; section names have no underscore, so the split is unique."""
    for variable in sorted(environment):
        if not variable.startswith(_ENV_PREFIX) or _is_of_others(variable):
            continue
        section, _, rest = variable.removeprefix(_ENV_PREFIX).lower().partition("_")
        if section == KEYWORD_SECTION:
            for item in fields(KeywordSettings):
                if rest.endswith(f"_{item.name}"):
                    rest = f"{rest.removesuffix(f'_{item.name}')}.{item.name}"
                    break
        yield f"{section}.{rest}", environment[variable], variable


def _is_of_others(variable: str) -> bool:
    return variable.startswith(_OTHERS_PREFIXES) or variable in _OTHERS_VARIABLES


def _beside(file: Path, name: str, value: object) -> object:
    """A value of a file; the path of a profile is taken from the file's folder.

    The service starts in ``/``, wherever its files are.
    """
    if name != "audio.profile" or not isinstance(value, str) or not names_file(value):
        return value
    return str(file.absolute().parent / value)


def _set(name: str, value: object, origin: str) -> Setting:
    return Setting(check_value(_known(name, origin), value, origin), origin)


def _known(name: str, origin: str) -> Key:
    key = find_key(name)
    if key is not None:
        return key
    known = [*KEYS]
    keyword = split_keyword(name)
    if keyword is not None:
        known = [*keyword_keys(keyword[0])]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    # A right key in the wrong section, or without one, is the commonest slip.
    same_tail = [item for item in known if item.rpartition(".")[2] == name.rpartition(".")[2]]
    guess = same_tail or near
    hint = f"did you mean {shown_key(guess[0])}?" if guess else "kwsd --print-config lists all keys"
    raise ConfigError(f"unknown configuration key {shown_key(name)} ({origin}): {hint}")


def _build(settings: dict[str, Setting], unread: tuple[Path, ...] = ()) -> Config:
    sections: dict[str, Any] = {
        _ATTRIBUTES.get(prefix, prefix): cls(
            **{f.name: settings[f"{prefix}.{f.name}"].value for f in fields(cls)}
        )
        for prefix, cls in SECTIONS.items()
    }
    overrides: dict[str, dict[str, object]] = {}
    for name, setting in settings.items():
        if (parts := split_keyword(name)) is not None:
            keyword, key = parts
            overrides.setdefault(keyword, {})[key] = setting.value
    keywords = {name: KeywordSettings(**values) for name, values in overrides.items()}  # type: ignore[arg-type]
    return Config(**sections, keywords=keywords, settings=settings, unread=unread)
