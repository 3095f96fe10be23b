# SPDX-License-Identifier: Apache-2.0
"""Raw fields of a journal entry to what the agent uses; no journal is needed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.core.numerals import whole_number
from agent.core.record import dataclass

RawFields = Mapping[str, bytes | list[bytes]]

COREDUMP_MESSAGE_ID: Final = "fc2e22bc6ee647b6b90729ab34a250b1"
"""systemd-coredump's entries (systemd/sd-messages.h)."""
_CUT: Final = frozenset({"nul", "line-max"})
MOST_STREAMS: Final = 64
"""Streams of one unit that are told apart; vLLM has one for stdout and stderr each."""
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
    goes_on: bool = False
    """The rest of the line before it: journald cuts a line at its LineMax= and at a NUL."""


class CutLines:
    """The streams of a unit whose last line goes on in their next entry (systemd 235 and newer).

    The rest of a line begins with whatever stood there, which may be a client's.
    """

    def __init__(self) -> None:
        """Know of none."""
        self._streams: set[str] = set()

    def take(self, stream: str, ended_by: str) -> bool:
        """Take an entry's _STREAM_ID and _LINE_BREAK; tell whether it is the rest of a line."""
        if not stream:
            return False
        goes_on = stream in self._streams
        if ended_by in _CUT and len(self._streams) < MOST_STREAMS:
            self._streams.add(stream)
        else:
            self._streams.discard(stream)
        return goes_on


def decode_entry(
    fields: RawFields, cursor: str, realtime_seconds: float, *, goes_on: bool = False
) -> JournalEntry:
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
        pid=whole_number(pid) or 0,
        from_manager=from_manager,
        identifier=text_of_field(fields, "SYSLOG_IDENTIFIER"),
        message=text_of_field(fields, "MESSAGE"),
        goes_on=goes_on,
    )


def suppressed_messages(fields: RawFields, unit: str) -> int | None:
    """Returns how many lines of the unit journald says it dropped; None for any other entry.

    0 when it says so about another unit. The number is in N_DROPPED (systemd 252, 257); any program
    may send these fields, and only journald's own entries have the transport "driver".
    """
    if text_of_field(fields, "MESSAGE_ID") != SUPPRESSED_MESSAGE_ID:
        return None
    if text_of_field(fields, "_TRANSPORT") != "driver":
        return None
    number = text_of_field(fields, "N_DROPPED")
    is_ours = text_of_field(fields, "MESSAGE").endswith(f" from {unit}")
    return (whole_number(number) or 0) if is_ours else 0


def text_of_field(fields: RawFields, name: str) -> str:
    """Return a field as text, the first where it comes twice; "" where it is absent."""
    value = fields.get(name, b"")
    first = value[0] if isinstance(value, list) else value
    return first.decode(errors="replace")
