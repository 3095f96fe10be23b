# SPDX-License-Identifier: Apache-2.0
"""The kernel's words of crashes shortly before a time, and the run in which a process wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.core.diagnosis.concluding.crashes import Crash, crash_in
from agent.host.journal.entry import text_of_field
from agent.host.journal.kernel import KERNEL
from agent.host.journal.reader import RawReader

MOST_LINES: Final = 5_000
"""Lines of the kernel's that are looked at: a storm of others does not hold up a conclusion."""


def crashes_between(begin: float, end: float) -> Iterator[Crash]:
    """Give those that the kernel told of, by seconds since 1970; raises JournalError."""
    reader = RawReader((KERNEL,))
    try:
        reader.seek_realtime(begin)
        for _ in range(MOST_LINES):
            if not reader.next() or (at := reader.realtime_seconds()) > end:
                return
            fields = reader.fields()
            crash = crash_in(text_of_field(fields, "MESSAGE"), at) if fields else None
            if crash is not None:
                yield crash
    finally:
        reader.close()


def run_that_wrote(pid: int) -> str:
    """Return the invocation of the unit in which a process last wrote a line, "" for none."""
    reader = RawReader(((f"_PID={pid}",),))
    try:
        reader.seek_tail()
        fields = reader.fields() if reader.previous() else None
        return text_of_field(fields, "_SYSTEMD_INVOCATION_ID") if fields else ""
    finally:
        reader.close()
