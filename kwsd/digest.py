"""SHA-256 from the interpreter's own module: `hashlib` brings libcrypto, 4 MB of a small board."""

from __future__ import annotations

import importlib
from typing import Any


def _implementation() -> Any:
    # _sha2 since Python 3.12, _sha256 before; some builds leave them to OpenSSL.
    for name in ("_sha2", "_sha256", "hashlib"):
        try:
            return importlib.import_module(name).sha256
        except (ImportError, AttributeError):
            continue
    raise ImportError("this Python has no SHA-256")


_SHA256 = _implementation()


def sha256_hex(content: bytes) -> str:
    """SHA-256 of bytes, as 64 hexadecimal digits."""
    return str(_SHA256(content).hexdigest())
