"""Files with keys of the encrypted bus, as the daemon and its clients read them."""

from __future__ import annotations

from pathlib import Path

KEY_CHARACTERS = 40
"""Of a key in Z85: 32 bytes."""


class DamagedKeyError(ValueError):
    """A key is there and is not whole."""


def load_key(path: Path) -> tuple[bytes, bytes | None]:
    """Public and secret key of a file; the secret is None where it holds none.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It holds no public key; `DamagedKeyError`: a key in it is not whole.
    """
    # Here, since it brings more along than a daemon without keys needs.
    from zmq.auth import load_certificate
    from zmq.utils.z85 import Z85CHARS

    # Opened here, since pyzmq hides why it cannot be.
    path.open("rb").close()
    try:
        public, secret = load_certificate(str(path))
    except (ValueError, IndexError):
        raise ValueError("there is no public key in it") from None
    for key in (public, secret):
        if key is not None and (len(key) != KEY_CHARACTERS or not set(key) <= set(Z85CHARS)):
            raise DamagedKeyError(f"a key in it is not {KEY_CHARACTERS} characters of Z85")
    return public, secret
