# SPDX-License-Identifier: Apache-2.0
"""Whether a shared library is whole: dlopen of one that is cut off ends the process with SIGBUS.

An interrupted driver upgrade, or a disk that ran full under it, leaves such files. The loader maps
the segments that the program headers name and touches pages that the file does not have.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

_MAGIC: Final = b"\x7fELF\x02\x01"
"""A 64-bit little-endian ELF file; both architectures that llmagent runs on use it (elf(5))."""

_HEADER: Final = struct.Struct("<16xHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")


def cut_off(library: Path) -> str:
    """Return what a 64-bit ELF file lacks at its end, "" for a whole one and for any other file.

    Any other file is refused by dlopen itself, in words of its own.
    """
    try:
        size = library.stat().st_size
        with library.open("rb") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size or not head.startswith(_MAGIC):
                return ""
            _, _, _, _, segments_at, _, _, _, each, count, _, _, _ = _HEADER.unpack(head)
            if segments_at + each * count > size:
                return f"{library} is cut off: {size} bytes, and its segments are listed after them"
            file.seek(segments_at)
            table = file.read(each * count)
    except OSError:
        return ""
    needed = segments_at + each * count
    for start in range(0, len(table) - _SEGMENT.size + 1, max(each, _SEGMENT.size)):
        _, _, offset, _, _, in_file, _, _ = _SEGMENT.unpack_from(table, start)
        needed = max(needed, offset + in_file)
    return "" if size >= needed else f"{library} is cut off: {size} of at least {needed} bytes"
