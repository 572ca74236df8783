"""Reading a TOML table field by field: a mistake names file, key, value and what is allowed."""

from __future__ import annotations

from typing import Any

from kwsd.errors import ModelError
from kwsd.toml_file import shown_key

LARGEST_SHOWN = 100
"""Characters of a value in a message."""


class Fields:
    """One table of a package description; remembers which keys were read.

    Parameters
    ----------
    file : str
        For messages.
    prefix : str
        Dotted name of the table, empty for the root.
    table : dict
        What the TOML reader gave.
    """

    def __init__(self, file: str, prefix: str, table: dict[str, Any]) -> None:
        self._file, self._prefix, self._table = file, prefix, table
        self._read: set[str] = set()

    def where(self, key: str) -> str:
        """File and full name of a key."""
        return f"{self._file}: {shown_key(self._prefix + key)}"

    def keys(self) -> tuple[str, ...]:
        """Every key of the table."""
        return tuple(self._table)

    def _get(self, key: str, allowed: str) -> Any:
        self._read.add(key)
        if key not in self._table:
            raise ModelError(f"{self.where(key)} is missing: {allowed} expected")
        return self._table[key]

    def _wrong(self, key: str, value: Any, allowed: str) -> ModelError:
        return ModelError(f"{self.where(key)} = {_shown(value)}: {allowed} expected")

    def text(self, key: str) -> str:
        """A string that is not empty and can be shown: it goes to logs and terminals."""
        value = self._get(key, "a text")
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, value, "a text")
        if not value.isprintable():
            raise self._wrong(key, value, "a text of one line")
        return value

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        """One of some strings."""
        value = self.text(key)
        if value not in allowed:
            raise self._wrong(key, value, "one of " + ", ".join(allowed))
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """A finite number within bounds."""
        allowed = f"a number from {low:g} to {high:g}"
        value = self._get(key, allowed)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise self._wrong(key, value, allowed)
        return float(value)

    def integer(self, key: str, low: int, high: int) -> int:
        """A whole number within bounds."""
        allowed = f"a whole number from {low} to {high}"
        value = self._get(key, allowed)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(key, value, allowed)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of one or more strings."""
        value = self._get(key, "a list of texts")
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise self._wrong(key, value, "a list of texts")
        return tuple(value)

    def shape(self, key: str) -> tuple[int, ...]:
        """A static tensor shape."""
        allowed = "a list of 1 to 6 whole numbers from 1 to 65536"
        value = self._get(key, allowed)
        if (
            not isinstance(value, list)
            or not 1 <= len(value) <= 6
            or not all(type(n) is int and 1 <= n <= 1 << 16 for n in value)
        ):
            raise self._wrong(key, value, allowed)
        return tuple(value)

    def table(self, key: str) -> Fields:
        """A table below this one."""
        value = self._get(key, "a table")
        if not isinstance(value, dict):
            raise self._wrong(key, value, "a table")
        return Fields(self._file, f"{self._prefix}{key}.", value)

    def rows(self, key: str, allow_none: bool = False) -> list[Fields]:
        """An array of tables."""
        if allow_none and key not in self._table:
            return []
        value = self._get(key, "an array of tables")
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise self._wrong(key, value, "an array of tables")
        return [
            Fields(self._file, f"{self._prefix}{key}[{i}].", row) for i, row in enumerate(value)
        ]

    def finish(self) -> None:
        """Refuse keys that nothing has read."""
        unknown = sorted(set(self._table) - self._read)
        if unknown:
            known = ", ".join(sorted(self._read))
            raise ModelError(f"{self.where(unknown[0])} is not known here; known keys: {known}")


def _shown(value: Any) -> str:
    """A value as a message can hold it."""
    try:
        text = repr(value)
    # Python itself refuses to write long numbers and deep nesting.
    except (ValueError, RecursionError):
        return f"{type(value).__name__}, too long to show"
    return text if len(text) <= LARGEST_SHOWN else text[:LARGEST_SHOWN] + "…"
