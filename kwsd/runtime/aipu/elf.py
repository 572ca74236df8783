"""Exported symbols and machine of a shared library, read without loading it.

Loading runs a library's constructors; looking at one must not. Format: System V ABI, chapters 4
and 5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_LARGEST_BYTES = 64 << 20
_DYNAMIC_SYMBOLS = 11
_64_BIT = 2
_LITTLE = 1


class NotElf(Exception):
    """No ELF file, or a damaged one."""


@dataclass(frozen=True, slots=True)
class SharedObject:
    """What is known about a library."""

    machine: tuple[int, int, int]
    """Word size class, byte order and e_machine: equal for files that run together."""

    symbols: frozenset[str] | None
    """Defined dynamic symbols; None if the file has no section table or another word size."""


def machine_of(path: Path) -> tuple[int, int, int]:
    """Word size class, byte order and machine number of an ELF file.

    Raises
    ------
    NotElf
        Not such a file.
    """
    with path.open("rb") as file:
        return _machine(file.read(64))


def read_shared_object(path: Path) -> SharedObject:
    """Machine and symbols of a library.

    Raises
    ------
    NotElf
        Not an ELF file, or damaged.
    OSError
        It cannot be read.
    """
    if path.stat().st_size > _LARGEST_BYTES:
        raise NotElf(f"larger than {_LARGEST_BYTES} bytes")
    data = path.read_bytes()
    machine = _machine(data)
    if machine[:2] != (_64_BIT, _LITTLE):
        return SharedObject(machine, None)
    try:
        return SharedObject(machine, _symbols(data))
    except (struct.error, IndexError, ValueError) as error:
        raise NotElf(f"damaged section table: {error}") from None


def _machine(head: bytes) -> tuple[int, int, int]:
    if len(head) < 20 or head[:4] != b"\x7fELF":
        raise NotElf("not an ELF file")
    order = "<" if head[5] == _LITTLE else ">"
    return head[4], head[5], struct.unpack_from(f"{order}H", head, 18)[0]


def _symbols(data: bytes) -> frozenset[str] | None:
    (table,) = struct.unpack_from("<Q", data, 40)
    entry, count = struct.unpack_from("<HH", data, 58)
    if table == 0 or count == 0:
        return None
    # name, type, flags, address, offset, size, link, info, align, entry size
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * entry) for i in range(count)]
    names: set[str] = set()
    for header in headers:
        if header[1] != _DYNAMIC_SYMBOLS:
            continue
        strings = headers[header[6]][4]
        for at in range(header[4], header[4] + header[5], 24):
            name, _info, _other, section = struct.unpack_from("<IBBH", data, at)
            if section:
                start = strings + name
                names.add(data[start : data.index(b"\0", start)].decode())
    return frozenset(names)
