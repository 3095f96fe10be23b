# SPDX-License-Identifier: Apache-2.0
"""Looks at the processes of a run before it is killed, in a thread that may be left behind.

What hangs in the kernel can make whoever looks at it hang too; the kill does not wait for that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import field

from agent.core.record import dataclass
from agent.core.state.actions import TakeEvidence
from agent.core.state.process import EvidenceTaken, ProcessSeen
from agent.daemon.clock import Clock
from agent.host.vllm.process import ProcessStatus, kernel_function, process_status
from agent.host.vllm.stacks import NoStackError, dump_stacks, find_py_spy, watchdog_dumps

TAKE_SECONDS = 10.0
"""For all processes together."""

EACH_SECONDS = 3.0
LATE_SECONDS = 2.0


@dataclass(slots=True)
class _Look:
    """Fills in what it sees; the thread that waits for it may read it at any time."""

    python: str
    pids: tuple[int, ...]
    until: float
    dump_directory: str = ""
    dumps: Mapping[int, str] = field(default_factory=dict)
    seen: list[ProcessSeen] = field(default_factory=list)
    problem: str = ""

    def take(self) -> None:
        try:
            program = find_py_spy(self.python)
        except NoStackError as error:
            program, self.problem = "", str(error)
        if self.dump_directory:
            looked = (process_status(pid) for pid in self.pids)
            inside = (status.inside_pid for status in looked if status is not None)
            self.dumps = watchdog_dumps(self.dump_directory, inside)
        for pid in self.pids:
            left = self.until - time.monotonic()
            if left <= 0:
                self.problem = f"not done after {TAKE_SECONDS:.0f} s"
                return
            status = process_status(pid)
            if status is not None:
                self.seen.append(self._see(status, program, min(left, EACH_SECONDS)))

    def _see(self, status: ProcessStatus, program: str, seconds: float) -> ProcessSeen:
        stack = ""
        if program:
            try:
                stack = dump_stacks(program, status.pid, status.uid, seconds)
            except NoStackError as error:
                self.problem = str(error)
        # What the watchdog wrote at the stall is as good, and needs no right to look inside.
        stack = stack or self.dumps.get(status.inside_pid, "")
        return ProcessSeen(
            pid=status.pid,
            name=status.name,
            state=status.state,
            threads=status.threads,
            rss_bytes=status.rss_bytes,
            waits_in=kernel_function(status, seconds),
            stack=stack,
        )


def take_evidence(
    action: TakeEvidence, pids: tuple[int, ...], lines: tuple[str, ...], clock: Clock
) -> EvidenceTaken:
    """Return what can be seen of the processes `pids` within TAKE_SECONDS; never raises."""
    until = time.monotonic() + TAKE_SECONDS
    look = _Look(action.python, pids, until, action.dump_directory)
    thread = threading.Thread(target=look.take, name=f"evidence:{action.service}", daemon=True)
    thread.start()
    thread.join(TAKE_SECONDS + LATE_SECONDS)
    hangs = thread.is_alive()
    problem = f"gave up after {TAKE_SECONDS + LATE_SECONDS:.0f} s" if hangs else look.problem
    seen = tuple(look.seen)
    return EvidenceTaken(clock(), action.service, action.invocation_id, seen, lines, problem)
