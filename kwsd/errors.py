"""The error tree of the whole project, one documented exit code a class (sysexits.h)."""

from __future__ import annotations

EX_OK = 0
EX_USAGE = 64
EX_DATAERR = 65
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_CANTCREAT = 73
EX_CONFIG = 78


def first_line(error: Exception) -> str:
    """Of what an error of a library says; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class KwsdError(Exception):
    """Base of every error that a user can cause or must know of.

    The message is one line: what is wrong, which value, what is allowed, what to do next.
    """

    exit_code = EX_SOFTWARE


class UsageError(KwsdError):
    """The command line cannot be understood."""

    exit_code = EX_USAGE


class AudioError(KwsdError):
    """Audio that cannot be read or has no usable content."""

    exit_code = EX_DATAERR


class MissingFileError(KwsdError):
    """A file, folder or model that was named is not there."""

    exit_code = EX_NOINPUT


class ModelError(KwsdError):
    """A model package that is there but must not be used (hash, shape, missing part)."""

    exit_code = EX_DATAERR


class RuntimeUnavailable(KwsdError):
    """No inference runtime, device or optional package for what was asked."""

    exit_code = EX_UNAVAILABLE


class BusError(KwsdError):
    """The event bus cannot be bound or used."""

    exit_code = EX_UNAVAILABLE


class OutputError(KwsdError):
    """A result file cannot be written; what was there before is left as it was."""

    exit_code = EX_CANTCREAT


class ConfigError(KwsdError):
    """A configuration key or value that is not allowed."""

    exit_code = EX_CONFIG
