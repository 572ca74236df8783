"""Reader of the graph container v0.5 (Zhouyi Z1 and Z2): target, sizes and tensors of a file.

What it takes from a file is what must be known before the device is touched. Written from the
layout in public driver sources; no file of a vendor's compiler was at hand to try it on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"AIPU BIN".ljust(16, b"\0")
VERSION = 0x05000000
HEADER_BYTES = 104
LARGEST_BYTES = 64 << 20
LARGEST_COUNT = 1 << 16

INPUT, OUTPUT = 0, 1

_TOP = struct.Struct("<16s7I")
# offset, size, kind, id, data type, scale, zero point, 3 spare, address mask, relocations
_SUBSECTION = struct.Struct("<5Ifi3III")


class BadGraph(Exception):
    """The file is no graph container, or a damaged one."""


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """One input or output."""

    index: int
    """Place among the inputs or outputs."""

    size: int
    """Bytes."""

    data_type: int
    """Number of the driver, see `status.DATA_TYPES`; 0 where the compiler gave none."""

    scale: float
    """In the compiler's convention."""

    zero_point: int
    """In the compiler's convention."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What a container says about itself."""

    target: str
    """Such as Z1_0701, the R329."""

    builder: tuple[int, int, int]
    """Version of the compiler's builder: major, minor, build."""

    inputs: tuple[GraphTensor, ...]
    """In the graph's order."""

    outputs: tuple[GraphTensor, ...]
    """In the graph's order."""


def target_name(device: int) -> str:
    """Target string of a device word: ISA and, in decimal, the configuration."""
    return f"Z{device >> 16 & 0xF}_{device & 0xFFFF:04d}"


def read_graph(path: Path) -> Graph:
    """Read and check a file.

    Raises
    ------
    BadGraph
        It is not a complete container of version 0.5.
    OSError
        It cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise BadGraph(f"{path} has {size} bytes, allowed {LARGEST_BYTES}")
    try:
        return parse_graph(path.read_bytes())
    except BadGraph as error:
        raise BadGraph(f"{path}: {error}") from None


def parse_graph(data: bytes) -> Graph:
    """The same for bytes in memory.

    Raises
    ------
    BadGraph
        They are not a complete container of version 0.5.
    """
    if data[:4] == b"\x7fELF":
        raise BadGraph("an ELF graph for X2 and later targets; compile for Z1_0701")
    if data[4:8] == b"TFL3":
        raise BadGraph("a TFLite file; compile it with aipubuild first")
    if len(data) < HEADER_BYTES or data[:16] != MAGIC:
        raise BadGraph("no AIPU graph: the first bytes are not its mark")
    _, device, version, builder, header, size, _type, _flag = _TOP.unpack_from(data)
    if version & 0xFF000000 != VERSION:
        raise BadGraph(f"container version {version:#010x}, readable is {VERSION:#010x}")
    if size != len(data):
        raise BadGraph(f"cut or lengthened: {len(data)} bytes, the header says {size}")
    if not HEADER_BYTES <= header <= size:
        raise BadGraph(f"header of {header} bytes, at least {HEADER_BYTES} needed")
    sections = struct.unpack_from("<12I", data, _TOP.size + 4)
    for name, offset, length in zip(
        ("text", "rodata", "descriptor", "data", "bss", "misc"),
        sections[::2],
        sections[1::2],
        strict=True,
    ):
        if length and (offset < header or offset + length > size):
            raise BadGraph(f"section {name} lies outside the file")
        if not length and name in ("text", "rodata", "bss"):
            raise BadGraph(f"section {name} is empty")
    start, length = sections[8:10]
    tensors = _Bss(data[start : start + length]).tensors()
    return Graph(
        target_name(device),
        (builder & 0xFF, builder >> 8 & 0xFF, builder >> 16),
        _ordered(tensors, INPUT),
        _ordered(tensors, OUTPUT),
    )


def _ordered(tensors: list[tuple[int, GraphTensor]], kind: int) -> tuple[GraphTensor, ...]:
    found = sorted((t for k, t in tensors if k == kind), key=lambda tensor: tensor.index)
    if not found:
        raise BadGraph("the graph has no " + ("inputs" if kind == INPUT else "outputs"))
    if [t.index for t in found] != list(range(len(found))):
        raise BadGraph(f"tensor ids are {[t.index for t in found]}, expected 0, 1, 2 …")
    return tuple(found)


class _Bss:
    """The block that lists static and reusable memory, tensors among it."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def tensors(self) -> list[tuple[int, GraphTensor]]:
        """Every subsection with its kind."""
        stack, align, statics, reuses = self._words(4)
        if not (stack and align and reuses):
            raise BadGraph("the memory table has an empty stack, alignment or reuse count")
        found: list[tuple[int, GraphTensor]] = []
        for _ in range(self._count(statics) + self._count(reuses)):
            for _ in range(self._count(self._words(4)[3])):
                found.append(self._subsection())
        self._words(1)  # The remap count is always there.
        return found

    def _subsection(self) -> tuple[int, GraphTensor]:
        at = self._take(_SUBSECTION.size)
        _offset, size, kind, index, dtype, scale, zero, *_spare, relocations = (
            _SUBSECTION.unpack_from(self._data, at)
        )
        self._take(4 * self._count(relocations))
        return kind, GraphTensor(index, size, dtype, scale, zero)

    def _words(self, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{count}I", self._data, self._take(4 * count))

    def _count(self, value: int) -> int:
        if value > LARGEST_COUNT:
            raise BadGraph(f"the memory table counts {value} entries")
        return value

    def _take(self, size: int) -> int:
        at, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise BadGraph("the memory table ends early")
        return at
