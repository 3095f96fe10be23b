# SPDX-License-Identifier: Apache-2.0
"""Reads, starts, stops and links units over D-Bus."""

from __future__ import annotations

import errno
import select
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from agent.host.systemd.connection import MANAGER, MANAGER_PATH, Connection, SystemdError
from agent.host.systemd.unit_state import CommandLines, UnitState, read_unit

T = TypeVar("T")

_MODE: Final = b"replace"
_NOT_STARTABLE: Final = {
    "not-found": (errno.ENOENT, "there is no such unit file"),
    "bad-setting": (errno.ENOEXEC, "its unit file has a bad setting"),
    "masked": (errno.EPERM, "it is masked (`systemctl unmask` ends that)"),
}


class JobResult(StrEnum):
    """How a job ended, in systemd's words (man org.freedesktop.systemd1, JobRemoved)."""

    DONE = "done"
    """Carried out. A start with Type=exec only proves that exec() worked."""
    FAILED = "failed"
    CANCELED = "canceled"
    """Another job replaced it."""
    TIMEOUT = "timeout"
    """The job's own timeout (JobTimeoutSec) passed."""
    DEPENDENCY = "dependency"
    """A unit that it requires failed."""
    SKIPPED = "skipped"
    """Nothing to do, such as a reload of a unit that does not run."""
    INVALID = "invalid"
    ASSERT = "assert"
    """An Assert... line of the unit was not met."""
    UNSUPPORTED = "unsupported"
    COLLECTED = "collected"
    ONCE = "once"
    """The unit may run only once and has run."""
    FROZEN = "frozen"
    CONCURRENCY = "concurrency"
    PENDING = "pending"
    """Ours: queued, but its end was not seen before the deadline."""
    UNKNOWN = "unknown"
    """Ours: a word that this systemd has and we do not know."""


class SystemdBus:
    """Talks to systemd; make one for each thread that does.

    Connects on first use, through the system bus or else PID 1's private socket, and again after
    the connection died. Each method raises SystemdError, and blocks for as long as PID 1 takes to
    answer, 25 s or $SYSTEMD_BUS_TIMEOUT at most, holding the GIL.
    """

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._command_lines = CommandLines()
        self._held: set[str] = set()

    def close(self) -> None:
        """Ends the connection; the next call opens a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._held.clear()

    def read(self, unit: str) -> UnitState:
        """Returns the unit's state now; a unit that does not exist reads as "not-found".

        It also makes systemd keep a loaded unit in memory while we are connected: else the exit
        status of a unit that stopped cleanly is forgotten at once (impossible on the private
        socket, where the status of such a unit reads 0).
        """

        def read(connection: Connection) -> UnitState:
            connection.drain()
            state = read_unit(connection, unit, self._command_lines.of)
            if state.load_state == "loaded" and unit not in self._held:
                if not connection.is_private:
                    connection.call("RefUnit", b"s", unit.encode())
                self._held.add(unit)
            return state

        return self._ask(read)

    def start(self, unit: str, deadline_seconds: float) -> JobResult:
        """Starts the unit now and waits for the job's end; a deadline of 0 only queues it.

        A start job for a unit that waits for its automatic restart just waits for the same timer
        (systemd 252; 257 starts at once), so the automatic restart is superseded by a restart job.
        """
        state = self._startable(unit)
        ends = state.pending_restart or state.active_state == "deactivating"
        return self._run_job("RestartUnit" if ends else "StartUnit", unit, deadline_seconds)

    def restart(self, unit: str, deadline_seconds: float) -> JobResult:
        """Stops the unit if it runs, starts it, and waits for the job's end."""
        self._startable(unit)
        return self._run_job("RestartUnit", unit, deadline_seconds)

    def stop(self, unit: str, deadline_seconds: float) -> JobResult:
        """Stops the unit, a pending automatic restart too, and waits for the job's end."""
        state = self.read(unit)
        if state.load_state == "not-found" and state.active_state == "inactive":
            return JobResult.DONE
        try:
            return self._run_job("StopUnit", unit, deadline_seconds)
        except SystemdError as failure:
            if failure.errno != errno.ENOENT:
                raise
            return JobResult.DONE  # dropped from memory meanwhile, as idle units are

    def kill(self, unit: str, who: str, signal_number: int) -> None:
        """Sends a signal to the unit's processes; who: main, control or all."""
        self._call("KillUnit", b"ssi", unit.encode(), who.encode(), signal_number)

    def processes(self, unit: str) -> tuple[tuple[int, str], ...]:
        """Returns PID and command line of each process in the unit's control group."""

        def ask(connection: Connection) -> object:
            return connection.call("GetUnitProcesses", b"s", unit.encode())

        try:
            answer = self._ask(ask)
        except SystemdError as failure:
            if failure.errno not in (errno.ENOENT, errno.ESRCH):
                raise
            return ()  # no such unit in memory, or no control group
        return tuple(_process(row) for row in answer) if isinstance(answer, list) else ()

    def reset_failed(self, unit: str) -> None:
        """Forgets that the unit failed, and its start rate; nothing to do if it is not loaded."""
        if self.read(unit).load_state == "not-found":
            return
        try:
            self._call("ResetFailedUnit", b"s", unit.encode())
        except SystemdError as failure:
            if failure.errno != errno.ENOENT:
                raise

    def daemon_reload(self) -> None:
        """Makes systemd read all unit files again; costs PID 1 80 to 300 ms."""
        self._call("Reload")

    def link(self, path: Path) -> None:
        """Makes a unit file that lies elsewhere known by a link in /etc/systemd/system.

        Replaces nothing: SystemdError where a file or another link is in its place, `systemctl
        mask`'s too. The unit is there after `daemon_reload`.
        """
        self._call("LinkUnitFiles", b"asbb", [str(path).encode()], False, False)

    def unlink(self, unit: str) -> None:
        """Removes the unit's links from /etc/systemd/system; drop-ins stay."""
        self._call("DisableUnitFiles", b"asb", [unit.encode()], False)

    def _startable(self, unit: str) -> UnitState:
        # systemd would refuse just so, but each refused call leaks the connection's 9 KiB.
        state = self.read(unit)
        if state.load_state != "loaded":
            number, why = _NOT_STARTABLE.get(state.load_state, (errno.EIO, state.load_state))
            raise SystemdError(
                f"systemd: {unit} cannot start: {why}; `systemctl status {unit}` says more", number
            )
        return state

    def _call(self, method: str, signature: bytes = b"", *arguments: object) -> None:
        self._ask(lambda connection: connection.call(method, signature, *arguments))

    def _ask(self, question: Callable[[Connection], T]) -> T:
        """Asks on the open connection and, if that turns out to be dead, once on a new one."""
        is_new = self._connection is None
        if self._connection is None:
            self._connection = Connection()
        try:
            return question(self._connection)
        except SystemdError as failure:
            if not failure.connection_lost:
                raise
            self.close()
            if is_new:
                raise
        return self._ask(question)

    def _run_job(self, method: str, unit: str, deadline_seconds: float) -> JobResult:
        # A connection for this job alone: a match cannot be removed again, and one that nobody
        # drains between jobs would pile up every other job's end.
        deadline = time.monotonic() + deadline_seconds
        connection = Connection()
        try:
            ended: dict[object, object] = {}

            def job_removed(body: Sequence[object]) -> None:
                _, job, _, result = body
                ended[job] = result

            connection.on_signal(MANAGER_PATH, MANAGER, "JobRemoved", job_removed)
            connection.call("Subscribe")
            job = connection.call(method, b"ss", unit.encode(), _MODE)
            return _await_end(connection, job, ended, deadline)
        finally:
            connection.close()


def _process(row: Sequence[object]) -> tuple[int, str]:
    _, pid, command = row
    assert isinstance(pid, int)
    assert isinstance(command, bytes)
    return pid, command.decode(errors="replace")


def _await_end(
    connection: Connection, job: object, ended: dict[object, object], deadline: float
) -> JobResult:
    poll = select.poll()
    try:
        poll.register(connection.fileno(), select.POLLIN)
        while True:
            was_all = connection.drain()
            if job in ended:
                return _job_result(ended[job])
            left = deadline - time.monotonic()
            if left <= 0:
                return JobResult.PENDING
            poll.poll(left * 1000 if was_all else 0)
    except SystemdError as failure:
        if failure.connection_lost:
            return JobResult.PENDING
        raise


def _job_result(word: object) -> JobResult:
    assert isinstance(word, bytes)
    try:
        return JobResult(word.decode())
    except ValueError:
        return JobResult.UNKNOWN
