"""Reader of FlatBuffers tables: offsets checked, nothing but `struct`; for files of strangers.

Format: flatbuffers.dev, "FlatBuffer Internals". A table begins with the distance back to its
vtable, which gives the place of each field; a vector begins with its length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

LARGEST_VECTOR = 1 << 24
MOST_READ_PER_BYTE = 8
"""Lists may be shared: a file of 160 kB in which all are one list asked for 3 GB."""


class BadFlatbuffer(Exception):
    """The bytes are not what they should be."""


def _read(data: bytes, layout: str, at: int) -> int | float:
    try:
        value: int | float = struct.unpack_from("<" + layout, data, at)[0]
    except struct.error:
        raise BadFlatbuffer(f"an offset points to byte {at} of {len(data)}") from None
    return value


def _integer(data: bytes, layout: str, at: int) -> int:
    # A negative place would count from the end of the bytes.
    if at < 0:
        raise BadFlatbuffer(f"an offset points to byte {at} of {len(data)}")
    return int(_read(data, layout, at))


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a buffer."""

    data: bytes
    """The whole buffer."""

    at: int
    """Where the table begins."""

    left_bytes: list[int]
    """How much of lists may still be read, of the whole buffer."""

    def scalar(self, field: int, layout: str, default: int = 0) -> int:
        """Number in a field; `layout` is a `struct` letter."""
        place = self._place(field)
        return default if place is None else _integer(self.data, layout, place)

    def table(self, field: int) -> Table | None:
        """Table in a field."""
        place = self._place(field)
        if place is None:
            return None
        return Table(self.data, place + _integer(self.data, "I", place), self.left_bytes)

    def text(self, field: int) -> str:
        """String in a field; empty if there is none."""
        start, length = self._vector(field, 1)
        return self.data[start : start + length].decode(errors="replace")

    def numbers(self, field: int, layout: str) -> tuple[int | float, ...]:
        """Vector of numbers in a field."""
        size = struct.calcsize("<" + layout)
        start, length = self._vector(field, size)
        return tuple(struct.unpack_from(f"<{length}{layout}", self.data, start))

    def tables(self, field: int) -> tuple[Table, ...]:
        """Vector of tables in a field."""
        start, length = self._vector(field, 4)
        places = range(start, start + 4 * length, 4)
        return tuple(
            Table(self.data, at + _integer(self.data, "I", at), self.left_bytes) for at in places
        )

    def _place(self, field: int) -> int | None:
        vtable = self.at - _integer(self.data, "i", self.at)
        if 4 + 2 * field >= _integer(self.data, "H", vtable):
            return None
        offset = _integer(self.data, "H", vtable + 4 + 2 * field)
        return self.at + offset if offset else None

    def _vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + _integer(self.data, "I", place)
        length = _integer(self.data, "I", start)
        if length > LARGEST_VECTOR or start + 4 + length * item_bytes > len(self.data):
            raise BadFlatbuffer(f"a list of {length} entries does not fit into the file")
        self.left_bytes[0] -= length * item_bytes
        if self.left_bytes[0] < 0:
            raise BadFlatbuffer("its lists lie in one another")
        return start + 4, length


def root(data: bytes, identifier: bytes) -> Table:
    """Root table of a buffer with a file identifier.

    Raises
    ------
    BadFlatbuffer
        Another file.
    """
    if len(data) < 8 or data[4:8] != identifier:
        raise BadFlatbuffer(f"the file identifier is not {identifier.decode()}")
    return Table(data, _integer(data, "I", 0), [MOST_READ_PER_BYTE * len(data)])
