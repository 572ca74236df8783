"""Writer of graph containers v0.5 that hold nothing but tensors, for the double and the reader."""

import struct

MAGIC = b"AIPU BIN".ljust(16, b"\0")
R329 = 0x000102BD
VERSION = 0x05000000
HEADER_BYTES = 104


def subsection(size, kind, index, data_type, scale, zero_point, relocations=()):
    """One part of a section; kind 0 is an input, 1 an output, 4 a constant."""
    head = struct.pack("<5Ifi", 0, size, kind, index, data_type, scale, zero_point)
    return head + struct.pack(
        f"<5I{len(relocations)}I", 0, 0, 0, 0xFFFFFFFF, len(relocations), *relocations
    )


def container(inputs, outputs, device=R329, version=VERSION, statics=1):
    """A graph file; a tensor is ``(bytes, data type, scale, zero point)``."""
    constant = subsection(8, 4, 0, 3, 1.0, 0, (4,))
    bss = struct.pack("<4I", 4096, 32, statics, len(inputs) + len(outputs))
    bss += (struct.pack("<4I", 0, 8, 32, 1) + constant) * statics
    # Backwards: the ids and not the places say which tensor it is.
    for kind, tensors in ((1, outputs), (0, inputs)):
        for index, (size, *rest) in reversed(list(enumerate(tensors))):
            bss += struct.pack("<4I", size, 32, 0, 1)
            bss += subsection(size, kind, index, *rest, relocations=(0, 8, 12))
    bss += struct.pack("<I", 0)
    text, rodata, data = b"\0" * 32, b"\0" * 32, b"\0" * 8
    offset, pairs = HEADER_BYTES, []
    for section in (text, rodata, b"", data, bss, b""):
        pairs += [offset, len(section)]
        offset += len(section)
    top = MAGIC + struct.pack("<7I", device, version, 5 | 4 << 8 | 100 << 16, 104, offset, 2, 0)
    bottom = struct.pack("<I12I2I", 0, *pairs, 0, 0)
    return top + bottom + text + rodata + data + bss
