# SPDX-License-Identifier: Apache-2.0
"""A service's own journal, run by run, to what each run shows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator

from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.diagnosis.signatures import SignatureSet
from agent.core.failures.classes import Outcome
from agent.core.numerals import whole_number
from agent.core.record import dataclass
from agent.errors import HostLacksError
from agent.host.journal.entry import CutLines

MOST_LINES = 200_000
"""The newest lines of the unit that are read; a night of a busy server has fewer."""


@dataclass(frozen=True, slots=True)
class RunFound:
    """One run (systemd's InvocationID) of a unit; `began` in seconds since the epoch."""

    began: float
    diagnosis: Diagnosis

    @property
    def failed(self) -> bool:
        """Whether it ended in a failure, or serves otherwise than asked."""
        return self.diagnosis.outcome in (Outcome.FAILED, Outcome.DEGRADED)


def diagnose_journal(unit: str, signatures: SignatureSet) -> tuple[RunFound, ...]:
    """Return the runs in the journal, failures first, the newest of them before older ones.

    Raises HostLacksError when journalctl is not there or may not read this unit's lines.
    """
    argv = ["journalctl", f"--unit={unit}", "--output=json", f"--lines={MOST_LINES}", "--quiet"]
    try:
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as journal:
            assert journal.stdout is not None
            assert journal.stderr is not None
            found = list(runs_in(journal.stdout, signatures))
            said = journal.stderr.read().decode(errors="replace").strip()
    except OSError as error:
        raise HostLacksError(f"journalctl: {error.strerror}; name a log file instead") from error
    if journal.returncode and not found:
        raise HostLacksError(f"journalctl --unit={unit}: {said or journal.returncode}; run as root")
    return tuple(sorted(found, key=lambda run: (not run.failed, -run.began)))


def runs_in(lines: Iterable[bytes], signatures: SignatureSet) -> Iterator[RunFound]:
    """Yield the runs in the lines of `journalctl --output=json`, as they come."""
    run, began, reader = "", 0.0, LogReader(signatures)
    cut = CutLines()
    for line in lines:
        entry = _entry(line)
        if entry is None:
            continue
        message, invocation, at, stream, ended_by, pid = entry
        goes_on = cut.take(stream, ended_by)
        if invocation and invocation != run:
            if run:
                yield RunFound(began, reader.diagnosis())
            run, began, reader = invocation, at, LogReader(signatures)
        for index, part in enumerate(message.split("\n")):
            reader.feed(part, at, goes_on=goes_on and index == 0, pid=pid)
    if run:
        yield RunFound(began, reader.diagnosis())


def _entry(line: bytes) -> tuple[str, str, float, str, str, int] | None:
    """Return text, InvocationID, time, _STREAM_ID, _LINE_BREAK and _PID (0: none) of an entry.

    None for what journalctl never prints.
    """
    try:
        entry = json.loads(line)
        message = entry.get("MESSAGE", "")
        if isinstance(message, list):  # bytes that are no text
            message = bytes(byte & 255 for byte in message).decode(errors="replace")
        # systemd's own lines about the unit name its run in another field than the run's own lines.
        run = entry.get("_SYSTEMD_INVOCATION_ID", "")
        if entry.get("_PID") == "1":
            run = entry.get("INVOCATION_ID", "")
        at = int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6
        stream, ended_by = (str(entry.get(key, "")) for key in ("_STREAM_ID", "_LINE_BREAK"))
        pid = whole_number(str(entry.get("_PID", ""))) or 0
        return str(message), str(run), at, stream, ended_by, pid
    except (ValueError, TypeError, AttributeError):
        return None
