"""Writing TOML: the same table gives the same text; `tomllib` reads it back unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NAMED = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def _character(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    return f"\\u{ord(char):04X}" if char < " " or char == "\x7f" else char


def _string(text: str) -> str:
    return '"' + "".join(map(_character, text)) + '"'


def key_text(key: str) -> str:
    """A key, in quotes where it needs them."""
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def value_text(value: Any) -> str:
    """A value that is no table."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, float):
        # A numpy float is a float, too, but its own repr is no TOML.
        return repr(float(value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    raise TypeError(f"TOML has no {type(value).__name__}: {value!r}")


def _is_rows(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(row, Mapping) for row in value)
    )


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    # Plain values come first: behind a header they would belong to that table.
    below = {k: v for k, v in table.items() if isinstance(v, Mapping) or _is_rows(v)}
    lines = [f"{key_text(k)} = {value_text(v)}" for k, v in table.items() if k not in below]
    for key, value in below.items():
        full = (*path, key)
        name = ".".join(map(key_text, full))
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *_lines(value, full)]
        else:
            for row in value:
                lines += ["", f"[[{name}]]", *_lines(row, full)]
    return lines


def toml_text(table: Mapping[str, Any]) -> str:
    """A document of tables, arrays of tables, strings, numbers, truth values and flat lists.

    Parameters
    ----------
    table : mapping
        The root table; keys come in its order, plain values of a table before the tables below.

    Raises
    ------
    TypeError
        A value of another type.
    """
    return "\n".join(_lines(table, ())).strip("\n") + "\n"
