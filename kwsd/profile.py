"""Board profiles: defaults for one board, below everything that the user sets.

A profile is a TOML file with ``description``, ``evidence`` (``board`` or ``documents``), a table
``[audio]`` and, optionally, ``[dsp]`` with keys of the configuration, and ``[mixer]`` with controls
of the sound card. Those of the package are named by ``audio.profile = "r329"``, others by a path.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kwsd.errors import ConfigError
from kwsd.toml_file import parse_toml, shown_key

DIRECTORY = Path(__file__).parent / "profiles"
"""Beside this file: importlib.resources would bring zipfile and tempfile into the daemon."""

SUFFIX = ".toml"
SECTIONS = ("audio", "dsp")
"""Sections of the configuration that a profile may set."""

EVIDENCE = ("board", "documents")
_KEYS = {"description", "evidence", "mixer", *SECTIONS}


@dataclass(frozen=True, slots=True)
class MixerControl:
    """One control of a sound card and what it is to be."""

    name: str
    """As ``amixer controls`` or ``amixer scontrols`` shows it."""

    value: bool | int | str
    """A switch, a raw step, ``"24 dB"``, ``"80 %"`` or the word of an enumeration."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a board."""

    name: str
    """Name of the shipped file, or the path given."""

    description: str
    """One line for people."""

    evidence: str
    """``board``: measured there; ``documents``: never tried on the board."""

    values: Mapping[str, object]
    """Configuration values by full key, not yet checked."""

    card: str
    """ALSA name of the card that has the controls; empty for that of ``audio.device``."""

    controls: tuple[MixerControl, ...]
    """To be set in this order before the device is opened."""

    @property
    def origin(self) -> str:
        """How messages and ``--print-config`` call it."""
        return f"profile {self.name}"


def profile_names() -> list[str]:
    """The profiles of the package."""
    return sorted(
        item.name.removesuffix(SUFFIX) for item in DIRECTORY.iterdir() if item.name.endswith(SUFFIX)
    )


def names_file(name: str) -> bool:
    """Whether a profile is named by a path, not as one of the package."""
    return "/" in name or name.endswith(SUFFIX)


def load_profile(name: str) -> Profile:
    """Read a profile.

    Parameters
    ----------
    name : str
        One of `profile_names`, or the path of a file (with a slash or ending in ``.toml``).

    Returns
    -------
    Profile

    Raises
    ------
    ConfigError
        There is none of that name, or it is not a profile.
    """
    if names_file(name):
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"audio.profile = {name} cannot be read: {reason}") from None
    else:
        known = profile_names()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"audio.profile = {name}: no such profile; {hint}")
        content = (DIRECTORY / f"{name}{SUFFIX}").read_bytes()
    return parse_profile(name, parse_toml(content, f"profile {name}"))


def parse_profile(name: str, table: Mapping[str, Any]) -> Profile:
    """A profile from its TOML tables; raises `ConfigError`."""
    known = ", ".join(sorted(_KEYS))
    for key in table:
        if key not in _KEYS:
            raise _wrong(name, f"key {shown_key(key)} is not known; there are {known}")
    evidence = table.get("evidence", "documents")
    if evidence not in EVIDENCE:
        raise _wrong(name, f"evidence = {evidence!r}: must be {' or '.join(EVIDENCE)}")
    values: dict[str, object] = {}
    for section in SECTIONS:
        part = table.get(section, {})
        if not isinstance(part, dict):
            raise _wrong(name, f"{section} must be a table")
        values |= {f"{section}.{key}": value for key, value in part.items()}
    if "audio.profile" in values:
        raise _wrong(name, "audio.profile cannot stand in a profile")
    mixer = table.get("mixer", {})
    if not isinstance(mixer, dict) or not isinstance(mixer.get("control", []), list):
        raise _wrong(name, "mixer must be a table with card and [[mixer.control]]")
    controls = tuple(_control(name, entry) for entry in mixer.get("control", []))
    card = mixer.get("card", "")
    if not isinstance(card, str):
        raise _wrong(name, 'mixer.card: must be a name such as "hw:audiocodec"')
    return Profile(name, str(table.get("description", "")), evidence, values, card, controls)


def _control(profile: str, entry: object) -> MixerControl:
    if not isinstance(entry, dict) or set(entry) != {"name", "value"}:
        raise _wrong(profile, f"mixer.control {entry!r}: must have a name and a value")
    name, value = entry["name"], entry["value"]
    if not isinstance(name, str) or not name or not isinstance(value, (bool, int, str)):
        raise _wrong(
            profile,
            f"mixer.control {entry!r}: name is a string, value a switch, a whole "
            "number or a string",
        )
    return MixerControl(name, value)


def _wrong(name: str, what: str) -> ConfigError:
    return ConfigError(f"profile {name}: {what}")
