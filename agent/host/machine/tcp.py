# SPDX-License-Identifier: Apache-2.0
"""What the kernel knows of TCP connections: whether what was sent to a host has arrived there."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 8 << 20
"""Of one table; a connection takes 150, so that 55,000 are looked at."""

TIMES = 5
"""So often in a row was the same sent again in vain: for 6 s at least, as Linux waits 0.2 s before
the first time and twice as long before each that follows (TCP_RTO_MIN; seen 50 s after a cable was
cut: 7)."""

ESTABLISHED = b"01"
RETRANSMITS = b"01"
"""The timer that runs, of four; that of a receiver who takes nothing more just now is another."""

_MAPPED = "0000000000000000FFFF0000"
"""How an IPv4 address begins in the table of IPv6."""


def is_cut_off(addresses: Collection[str], proc: Path = Path("/proc")) -> bool:
    """Tell whether something that was sent to one of these addresses is not acknowledged.

    A kernel acknowledges for a process that is slow, stopped or hung, so that what is not
    acknowledged did not reach its host, or the word of it did not come back. False where nothing
    was sent, or nothing can be read (linux/net/ipv4/tcp_ipv4.c, get_tcp4_sock; proc_net_tcp(5)).
    """
    wanted = tuple(_as_in_the_tables(addresses))
    return bool(wanted) and any(_sends_again(line, wanted) for line in _lines(proc))


def _sends_again(line: bytes, wanted: tuple[bytes, ...]) -> bool:
    fields = line.split(None, 7)
    if len(fields) < 7 or not fields[2].startswith(wanted) or fields[3] != ESTABLISHED:
        return False
    timer, times = fields[5].partition(b":")[0], fields[6]
    return timer == RETRANSMITS and int(times, 16) >= TIMES


def _lines(proc: Path) -> Iterator[bytes]:
    for name in ("tcp", "tcp6"):
        try:
            with (proc / "net" / name).open("rb") as table:
                next(table, b"")
                yield from _bounded(table)
        except OSError:
            continue


def _bounded(table: BinaryIO) -> Iterator[bytes]:
    read = 0
    for line in table:
        read += len(line)
        if read > MOST_BYTES:
            return
        yield line


def _as_in_the_tables(addresses: Collection[str]) -> Iterator[bytes]:
    """Yield each address as the tables have it, in words of the machine's own byte order."""
    for text in addresses:
        address = ip_address(text.partition("%")[0])
        packed = address.packed
        words = (packed[at : at + 4] for at in range(0, len(packed), 4))
        shown = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
        yield f"{shown}:".encode()
        if isinstance(address, IPv4Address):
            yield f"{_MAPPED}{shown}:".encode()
