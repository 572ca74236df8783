"""Reading TOML that a user wrote: whatever is wrong with it is an error of the configuration."""

from __future__ import annotations

import tomllib
from typing import Any

from kwsd.errors import ConfigError


def shown_key(name: str) -> str:
    """A key that a user wrote, for a message of one line."""
    return name if name and name.isprintable() else repr(name)


def parse_toml(content: bytes, name: str) -> dict[str, Any]:
    """Tables of a file.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        What messages call it.

    Raises
    ------
    ConfigError
        It is no TOML, no UTF-8, or holds what Python itself refuses.
    """
    try:
        return tomllib.loads(content.decode())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not valid TOML: it must be UTF-8 text") from None
    except RecursionError:
        raise ConfigError(f"{name}: lists or tables are nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"{name} is not valid TOML: {error}") from None
