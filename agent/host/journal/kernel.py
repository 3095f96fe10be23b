# SPDX-License-Identifier: Apache-2.0
"""What the kernel writes, as the journal keeps it over boots."""

from __future__ import annotations

from typing import Final

from agent.core.record import dataclass
from agent.host.journal.entry import RawFields, text_of_field
from agent.host.journal.follower import Alternatives
from agent.host.journal.reader import RawReader

KERNEL: Final = ("_TRANSPORT=kernel", "SYSLOG_FACILITY=0")
"""What makes a line the kernel's: journald sets the first field itself, so no program of the host
can; what root, or root of a container, writes to /dev/kmsg has another facility than the kernel's
(Linux 3.5 to 6.18, kernel/printk/printk.c, devkmsg_write).

A program can have the kernel quote it, though: what counts is how a line begins.
"""


@dataclass(frozen=True, slots=True)
class KernelLine:
    """One line of the kernel's."""

    cursor: str
    realtime_seconds: float
    """When journald received it, in seconds since 1970."""
    earlier_boot: bool
    """Written before the present boot."""
    message: str


class KernelLines:
    """The kernel's lines; without a cursor, all of the present boot."""

    def __init__(self) -> None:
        self._boot_id = _present_boot()

    def matches(self, cursor: str | None) -> Alternatives:
        """Return what the kernel's entries meet: behind a cursor those of every boot."""
        boot = (f"_BOOT_ID={self._boot_id}",) if self._boot_id and cursor is None else ()
        return ((*KERNEL, *boot),)

    def beginning(self) -> None:
        """Begin at the journal's head: the boot is matched."""

    def read(self, fields: RawFields, cursor: str, realtime_seconds: float) -> KernelLine:
        """Return the line."""
        earlier = bool(self._boot_id) and text_of_field(fields, "_BOOT_ID") != self._boot_id
        return KernelLine(cursor, realtime_seconds, earlier, text_of_field(fields, "MESSAGE"))


def _present_boot() -> str:
    """Return the boot of the journal's newest entry; "" while the journal is empty.

    The kernel's own file may show another id in a container, to a sandbox with its own /proc.
    """
    reader = RawReader(())
    try:
        reader.seek_tail()
        fields = reader.fields() if reader.previous() else None
        return text_of_field(fields, "_BOOT_ID") if fields else ""
    finally:
        reader.close()
