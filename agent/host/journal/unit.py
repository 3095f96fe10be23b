# SPDX-License-Identifier: Apache-2.0
"""What a unit's processes, and systemd about them, write to the journal."""

from __future__ import annotations

from typing import Final

from agent.host.journal.entry import (
    COREDUMP_MESSAGE_ID,
    SUPPRESSED_MESSAGE_ID,
    CutLines,
    JournalEntry,
    RawFields,
    decode_entry,
    suppressed_messages,
    text_of_field,
)
from agent.host.journal.follower import Alternatives, newest_cursor

_DROPPED_SOMETHING: Final = (f"MESSAGE_ID={SUPPRESSED_MESSAGE_ID}", "_TRANSPORT=driver")


class UnitLines:
    """A unit's lines; without a cursor, those from now on."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._cut = CutLines()
        self.suppressed = 0
        """Lines of the unit that journald says it dropped."""

    def matches(self, cursor: str | None) -> Alternatives:  # noqa: ARG002 - of all boots alike
        """Return what the unit's entries meet, and journald's word that it dropped some."""
        return (
            (f"_SYSTEMD_UNIT={self._unit}",),
            (f"UNIT={self._unit}", "_PID=1"),
            # Anyone may write COREDUMP_UNIT=; the dumper runs as root.
            (f"COREDUMP_UNIT={self._unit}", "_UID=0", f"MESSAGE_ID={COREDUMP_MESSAGE_ID}"),
            _DROPPED_SOMETHING,
        )

    def beginning(self) -> str | None:
        """Return the newest entry of all."""
        return newest_cursor()

    def read(self, fields: RawFields, cursor: str, realtime_seconds: float) -> JournalEntry | None:
        """Return the line; lines that were dropped are only counted."""
        suppressed = suppressed_messages(fields, self._unit)
        if suppressed is not None:
            self.suppressed += suppressed
            return None
        stream, ended_by = (text_of_field(fields, key) for key in ("_STREAM_ID", "_LINE_BREAK"))
        goes_on = self._cut.take(stream, ended_by)
        return decode_entry(fields, cursor, realtime_seconds, goes_on=goes_on)


def run_of(unit: str, invocation_id: str) -> Alternatives:
    """Return what the entries of one run of a unit meet, for `Follower.from_first`."""
    return (
        (f"_SYSTEMD_INVOCATION_ID={invocation_id}", f"_SYSTEMD_UNIT={unit}"),
        (f"INVOCATION_ID={invocation_id}", f"UNIT={unit}", "_PID=1"),
    )
