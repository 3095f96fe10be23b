# SPDX-License-Identifier: Apache-2.0
"""A systemd unit as observations tell it."""

from __future__ import annotations

from agent.core.record import dataclass

AUTO_RESTART = frozenset(
    {
        "auto-restart",
        "auto-restart-queued",
        "dead-before-auto-restart",
        "failed-before-auto-restart",
    }
)
"""Sub-states of a unit that systemd will restart by itself; all but the first since systemd 254."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process in the control group of a unit that is down; `command` is its first word."""

    pid: int
    command: str = ""


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A systemd unit as D-Bus shows it, in systemd's words."""

    active_state: str
    sub_state: str
    result: str = "success"
    exec_main_code: int = 0
    """CLD_EXITED 1, CLD_KILLED 2, CLD_DUMPED 3; 0 while it runs or has never run."""

    exec_main_status: int = 0
    """The exit status or the signal's number."""

    main_pid: int = 0
    """0 when no main process runs."""

    invocation_id: str = ""
    """New with each start; "" when there was none."""

    n_restarts: int = 0
    """How often systemd's own Restart= has restarted it."""

    load_state: str = "loaded"
    command_line: tuple[str, ...] = ()
    """The main process's argv."""

    drop_ins: tuple[str, ...] = ()
    """Paths of its drop-ins."""

    foreign: str = ""
    """The unit's file where that is not the one that llmagent writes, else ""."""

    leftovers: tuple[Leftover, ...] = ()
    """Processes that outlived their run, looked for only while the unit is down."""

    cpu_seconds: float | None = None
    """What the present run has used; None where systemd does not count it."""

    @property
    def gone(self) -> bool:
        """Whether systemd knows no file of it: the link to llmagent's own was removed."""
        return self.load_state == "not-found"

    @property
    def pending_restart(self) -> bool:
        """Whether systemd's own Restart= timer is running: the main process died by itself."""
        return self.sub_state in AUTO_RESTART

    @property
    def running(self) -> bool:
        """Whether a main process is there or being started."""
        return self.active_state in {"active", "activating", "reloading"} and (
            not self.pending_restart
        )

    @property
    def ending(self) -> bool:
        """Whether somebody stops it now; systemd kills what has not ended in TimeoutStopSec."""
        return self.active_state == "deactivating"

    @property
    def down(self) -> bool:
        """Whether no process is left and nothing is being stopped."""
        return self.pending_restart or self.active_state in {"inactive", "failed"}
