"""Configuration values: checked against the schema, read from text, written as TOML."""

from __future__ import annotations

import math
import tomllib

from kwsd.config_schema import Key
from kwsd.errors import ConfigError
from kwsd.model.toml_text import value_text
from kwsd.toml_file import shown_key

AUTO = "auto"
NO_CHANNEL = "none"
LAST_CHANNEL = 1023
"""No sound device has more, as far as libraries know."""


def check_value(key: Key, value: object, origin: str) -> object:
    """Bring a TOML value into the form its key holds.

    Parameters
    ----------
    key : Key
        What is allowed.
    value : object
        As TOML gives it: bool, int, float, str or list.
    origin : str
        File, variable or option, for the message.

    Returns
    -------
    object
        bool, int, float, str, tuple or None (for "auto").

    Raises
    ------
    ConfigError
        Wrong type or outside the range.
    """
    try:
        return _checked(key, value, origin)
    except (OverflowError, ValueError):
        # Python turns no number of thousands of digits into text, or into a float.
        huge = f"{shown_key(key.name)} = a huge number ({origin})"
        raise ConfigError(f"{huge}: must be {allowed(key)}") from None


def _checked(key: Key, value: object, origin: str) -> object:
    if key.auto and value == AUTO:
        return None
    if key.kind == "bool":
        if not isinstance(value, bool):
            raise _wrong(key, value, origin)
        return value
    if key.kind in ("int", "float"):
        return _number(key, value, origin)
    if key.kind == "string":
        return _string(key, value, origin)
    items = value if isinstance(value, list) else [value]
    if key.kind == "channels":
        if value in (NO_CHANNEL, ""):
            return ()
        for item in items:
            if type(item) is not int or not 0 <= item <= LAST_CHANNEL:
                raise _wrong(key, value, origin)
        return tuple(items)
    if not items or len(set(map(str, items))) != len(items):
        raise _wrong(key, value, origin)
    return tuple(_string(key, item, origin) for item in items)


def parse_text(key: Key, text: str) -> object:
    """Read a value from a command line or a variable: TOML, or a bare word or comma list."""
    text = text.strip()
    if key.kind in ("strings", "channels") and not text.startswith("["):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if text in (AUTO, NO_CHANNEL) or not parts:
            return text
        return [_scalar(part, bare=key.kind == "strings") for part in parts]
    return _scalar(text, bare=key.kind == "string")


def to_toml(value: object) -> str:
    """A value of a checked configuration as TOML text."""
    return value_text(AUTO if value is None else value)


def allowed(key: Key) -> str:
    """What a key accepts, in words."""
    if key.choices:
        words = " or ".join((*key.choices, AUTO) if key.auto else key.choices)
        return f"a list of different words, each {words}" if key.kind == "strings" else words
    text = {
        "bool": "true or false",
        "int": "a whole number",
        "float": "a number",
        "string": "a string",
        "strings": "a list of different, non-empty strings",
        "channels": "a list of channel numbers such as [0, 1]",
    }[key.kind]
    if key.kind in ("int", "float"):
        if key.low is not None and key.high is not None:
            text += f" from {key.low:g} to {key.high:g}"
        elif key.low is not None:
            text += f" of at least {key.low:g}"
    return f'{text} or "{AUTO}"' if key.auto else text


def _number(key: Key, value: object, origin: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _wrong(key, value, origin)
    if key.low is not None and value < key.low or key.high is not None and value > key.high:
        raise _wrong(key, value, origin)
    if key.kind == "float":
        return float(value)
    if not isinstance(value, int):
        raise _wrong(key, value, origin)
    return value


def _string(key: Key, value: object, origin: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(key, value, origin)
    if key.choices and value not in key.choices:
        raise _wrong(key, value, origin)
    return value


def _scalar(text: str, *, bare: bool) -> object:
    """A TOML value; where the key holds words, anything that is not quoted is a word."""
    if bare and not text.startswith(('"', "'")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # Python itself refuses long numbers and deep nesting
        return text


def _wrong(key: Key, value: object, origin: str) -> ConfigError:
    shown = "true" if value is True else "false" if value is False else repr(value)
    return ConfigError(f"{shown_key(key.name)} = {shown} ({origin}): must be {allowed(key)}")
