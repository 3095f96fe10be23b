# SPDX-License-Identifier: Apache-2.0
"""Raw fields of a journal entry to what the agent uses; no journal is needed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

RawFields = Mapping[str, bytes | list[bytes]]

COREDUMP_MESSAGE_ID: Final = "fc2e22bc6ee647b6b90729ab34a250b1"
"""systemd-coredump's entries (systemd/sd-messages.h)."""
SUPPRESSED_MESSAGE_ID: Final = "a596d6fe7bfa4994828e72309e95d61e"
"""journald's "Suppressed N messages from UNIT" (systemd/sd-messages.h)."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line about a unit, from its processes or, about them, from systemd."""

    cursor: str
    realtime_seconds: float
    """When journald received it, in seconds since 1970."""
    invocation_id: str
    """The run of the unit that it belongs to; "" when journald could not tell."""
    pid: int
    """The process that wrote it; 0 when journald could not tell."""
    from_manager: bool
    """Written by PID 1 about the unit."""
    identifier: str
    message: str
    """As written: may hold escape sequences and, from progress bars, carriage returns."""


def decode_entry(fields: RawFields, cursor: str, realtime_seconds: float) -> JournalEntry:
    """Decodes an entry; bytes that are not UTF-8 are replaced, absent fields are empty."""
    pid = text_of_field(fields, "_PID")
    from_manager = pid == "1" and "UNIT" in fields
    # PID 1's own lines and core dumps carry the invocation of PID 1 or of the dumper in the
    # trusted field; the former name the unit's in a field of their own.
    if from_manager:
        invocation_id = text_of_field(fields, "INVOCATION_ID")
    elif "COREDUMP_UNIT" in fields:
        invocation_id = ""
    else:
        invocation_id = text_of_field(fields, "_SYSTEMD_INVOCATION_ID")
    return JournalEntry(
        cursor=cursor,
        realtime_seconds=realtime_seconds,
        invocation_id=invocation_id,
        pid=int(pid) if pid.isdecimal() else 0,
        from_manager=from_manager,
        identifier=text_of_field(fields, "SYSLOG_IDENTIFIER"),
        message=text_of_field(fields, "MESSAGE"),
    )


def suppressed_messages(fields: RawFields, unit: str) -> int | None:
    """Returns how many lines of the unit journald says it dropped; None for any other entry.

    0 when it says so about another unit. The number is in N_DROPPED (systemd 252, 257).
    """
    if text_of_field(fields, "MESSAGE_ID") != SUPPRESSED_MESSAGE_ID:
        return None
    number = text_of_field(fields, "N_DROPPED")
    is_ours = text_of_field(fields, "MESSAGE").endswith(f" from {unit}")
    return int(number) if is_ours and number.isdecimal() else 0


def text_of_field(fields: RawFields, name: str) -> str:
    """Return a field as text, the first where it comes twice; "" where it is absent."""
    value = fields.get(name, b"")
    first = value[0] if isinstance(value, list) else value
    return first.decode(errors="replace")
