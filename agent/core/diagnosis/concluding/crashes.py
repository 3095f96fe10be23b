# SPDX-License-Identifier: Apache-2.0
"""The kernel's word of a process that it ended for a fault, and whose process that was.

Linux names the thread, which is the process where its first thread fell (x86: show_signal_msg of
arch/x86/mm/fault.c and do_trap of arch/x86/kernel/traps.c; arm64: arch/arm64/kernel/traps.c; 5.10
to 6.18). A thread's name is anything that its program chose: only whose it is counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import FailureClass, Outcome
from agent.core.record import dataclass

WINDOW_SECONDS = 30.0
"""So long before the last line of a run may its process have fallen: vLLM's front end ends 4 to 5 s
behind its engine (0.32), an engine of many workers later."""

_CRASH = re.compile(
    r"(?:traps: )?([^\[\]]{1,15})\[(\d{1,9})\]:? "
    r"(?:segfault at |general protection |trap |bad frame |unhandled (?:level|signal|exception)|"
    r"undefined instruction)"
)
_LONGEST = 400

_NO_CAUSE = frozenset(
    {FailureClass.ENGINE_DEAD, FailureClass.WORKER_DIED, FailureClass.UNKNOWN}
    | {FailureClass.NATIVE_CRASH, FailureClass.PEER_LOST}
)
_NO_WORD = frozenset({Outcome.READY, Outcome.RUNNING, Outcome.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Crash:
    """One line: the thread's number on the host, and when it came, in seconds since 1970."""

    thread: int
    at: float
    line: str


def crash_in(line: str, at: float) -> Crash | None:
    """Return the crash that a line of the kernel's tells of, None for any other line."""
    found = _CRASH.match(line)
    return None if found is None else Crash(int(found.group(2)), at, line[:_LONGEST])


def lacks_a_cause(diagnosis: Diagnosis) -> bool:
    """Tell whether a run that is over has no cause in its own log, or a crash without a place."""
    return diagnosis.failure in _NO_CAUSE or diagnosis.outcome in _NO_WORD


def word_of(
    crashes: Iterable[Crash], invocation_id: str, run_of: Callable[[int], str], *, native: bool
) -> str:
    """Return the line of a run's crash as its log would have it, "" where none is known to be its.

    `run_of` gives the run that a process of the host wrote its lines in, "" for one that wrote
    none: a thread is known by no journal. Such a one counts where the run's own log tells of a
    crash (`native`) and no other can be meant.
    """
    owned = [(crash, run_of(crash.thread)) for crash in crashes]
    ours = [crash for crash, run in owned if run == invocation_id]
    unknown = [crash for crash, run in owned if not run]
    if not ours and native and len(unknown) == 1:
        ours = unknown
    return f"{ours[0].line} (the kernel, of a process of this run)" if ours else ""
