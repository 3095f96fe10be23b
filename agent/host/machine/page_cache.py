# SPDX-License-Identifier: Apache-2.0
"""Which parts of a file are in memory, and how to have them there.

mincore(2) tells of a file's pages without reading any. Since Linux 5.2 it says "all" to who neither
owns the file nor may write it, so whoever asks needs CAP_FOWNER for files of others.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable, Iterator
from typing import Final

Span = tuple[int, int]
"""A part of a file: where it begins, and how many bytes it has."""

CHUNK_BYTES: Final = 1 << 20
"""Parts are told apart no finer: the kernel itself reads ahead in pieces of this order."""

WINDOW_BYTES: Final = 1 << 28
"""So much of a file is asked about at once, a byte for each page."""

PROT_READ: Final = 1
MAP_SHARED: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_longlong),
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_FAILED: Final = ctypes.c_void_p(-1).value


def resident_bytes(descriptor: int, spans: Iterable[Span]) -> int:
    """Return how many bytes of these parts are in memory, in whole pages; raises OSError."""
    size = os.fstat(descriptor).st_size
    pages = 0
    for begin, length in spans:
        for _, vector in _windows(descriptor, begin, min(begin + length, size)):
            pages += vector.count(1)
    return pages * mmap.PAGESIZE


def resident_spans(descriptor: int) -> list[Span]:
    """Return the parts of a file of which something is in memory, in order; raises OSError."""
    size = os.fstat(descriptor).st_size
    found: list[Span] = []
    pages = CHUNK_BYTES // mmap.PAGESIZE
    for at, vector in _windows(descriptor, 0, size):
        for first in range(0, len(vector), pages):
            if 1 not in vector[first : first + pages]:
                continue
            begin = at + first * mmap.PAGESIZE
            length = min(CHUNK_BYTES, size - begin)
            if found and sum(found[-1]) == begin:
                found[-1] = (found[-1][0], found[-1][1] + length)
            else:
                found.append((begin, length))
    return found


def read_span(descriptor: int, span: Span, buffer: bytearray) -> Iterator[int]:
    """Read a part of a file into a buffer, again and again; gives the bytes of each read."""
    at, left = span
    view = memoryview(buffer)
    while left > 0:
        count = os.preadv(descriptor, [view[: min(left, len(view))]], at)
        if count <= 0:
            return
        at, left = at + count, left - count
        yield count


def _windows(descriptor: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Give a byte a page, 1 for one in memory, window by window from the page of `begin` on."""
    begin -= begin % mmap.PAGESIZE
    for at in range(begin, end, WINDOW_BYTES):
        length = min(WINDOW_BYTES, end - at)
        yield at, _mincore(descriptor, at, length)


def _mincore(descriptor: int, at: int, length: int) -> bytes:
    address = _libc.mmap(None, length, PROT_READ, MAP_SHARED, descriptor, at)
    if address == _FAILED:
        raise _error()
    try:
        vector = ctypes.create_string_buffer(-(-length // mmap.PAGESIZE))
        if _libc.mincore(address, length, vector) != 0:
            raise _error()
        return vector.raw
    finally:
        _libc.munmap(address, length)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
