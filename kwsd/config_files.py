"""Configuration files: which there are, what they hold, and which this user may not read."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kwsd.errors import ConfigError, MissingFileError
from kwsd.toml_file import parse_toml

log = logging.getLogger(__name__)

SYSTEM_DIRECTORY = Path("/etc/kwsd")
FILE_NAME = "kwsd.toml"
PARTS_DIRECTORY = "conf.d"

Tables = list[tuple[Path, dict[str, Any]]]


def read_named(file: Path) -> dict[str, Any]:
    """Read the file that ``--config`` names.

    Raises
    ------
    MissingFileError
        It is not there.
    ConfigError
        It cannot be read, or is not TOML.
    """
    try:
        if _is_there(file):
            return _read_toml(file)
    except PermissionError as error:
        raise ConfigError(
            f"--config {file} cannot be read: {error.strerror} ({readers(file)} may); "
            "name a copy that you may read"
        ) from None
    raise MissingFileError(f"--config {file}: no such file")


def read_installed(
    environment: Mapping[str, str], system_directory: Path
) -> tuple[Tables, tuple[Path, ...]]:
    """Read the system's files and the user's; what may not be read is left out with a warning.

    Parameters
    ----------
    environment : mapping
        Variables that say where the user's files are.
    system_directory : Path
        Where the system's are.

    Returns
    -------
    tables : list of (Path, dict)
        What is there, later ones over earlier ones.
    unread : tuple of Path
        Files and folders that this user may not read; of a folder that may not be entered, the
        file that would be looked for first.

    Raises
    ------
    ConfigError
        A file is not TOML, or cannot be read for another reason.
    """
    home = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME", "/")) / ".config")
    files: list[Path] = []
    parts: list[Path] = []
    unread: list[Path] = []
    for directory in (system_directory, Path(home) / "kwsd"):
        try:
            if _is_there(directory / FILE_NAME):
                files.append(directory / FILE_NAME)
            folder = directory / PARTS_DIRECTORY
            parts += sorted(folder / name for name in os.listdir(folder) if _is_part(name))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            unread.append(Path(error.filename))
        except OSError as error:
            raise ConfigError(
                f"{directory} cannot be read: {error.strerror or error}; name a file with --config"
            ) from None
    tables: Tables = []
    for path in (*files, *parts):
        try:
            tables.append((path, _read_toml(path)))
        except PermissionError:
            unread.append(path)
    for path in unread:
        log.warning("%s is left out: this user may not read it; %s may", path, readers(path))
    return tables, tuple(unread)


def readers(path: Path) -> str:
    """Who may read a file, for messages; where it cannot be seen, who may read its folder."""
    for place in (path, *path.parents):
        try:
            if place.stat().st_mode & stat.S_IRGRP:
                return f"members of the group {place.group()}"
            return f"only {place.owner()}"
        except OSError:
            continue
        except KeyError:
            # A number without a name.
            break
    return "only its owner"


def _is_part(name: str) -> bool:
    """Whether a file of ``conf.d`` counts; editors keep what is not finished behind a dot."""
    return name.endswith(".toml") and not name.startswith(".")


def _is_there(path: Path) -> bool:
    """Whether there is such a file; raises `PermissionError` where that cannot be known.

    What is no file is not the same as none: a container makes a folder of a file that is not there,
    and whoever configured something must not get defaults.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        mode = path.stat().st_mode
    except PermissionError:
        raise
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}; mend the link or remove it"
        ) from None
    if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):  # a link to /dev/null is a usual "nothing"
        raise ConfigError(f"{path} is not a file; put one in its place or remove it")
    return True


def _read_toml(path: Path) -> dict[str, Any]:
    """A file's tables; raises `ConfigError`, or `PermissionError` for the caller to judge."""
    try:
        return parse_toml(path.read_bytes(), str(path))
    except PermissionError:
        raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
