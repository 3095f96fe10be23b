# SPDX-License-Identifier: Apache-2.0
"""What systemd says about a service unit at one moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.core.record import dataclass
from agent.core.state.unit import AUTO_RESTART
from agent.host.systemd.connection import SERVICE, UNIT, Connection, unit_path

_CONSISTENT_READS: Final = 5
_NOT_COUNTED: Final = 2**64 - 1
_READ: Final[tuple[tuple[bytes, str, bytes], ...]] = (
    (UNIT, "LoadState", b"s"),
    (UNIT, "ActiveState", b"s"),
    (UNIT, "SubState", b"s"),
    (SERVICE, "Result", b"s"),
    (SERVICE, "ExecMainCode", b"i"),
    (SERVICE, "ExecMainStatus", b"i"),
    (SERVICE, "MainPID", b"u"),
    (UNIT, "InvocationID", b"ay"),
    (SERVICE, "NRestarts", b"u"),
    (UNIT, "NeedDaemonReload", b"b"),
    (UNIT, "FragmentPath", b"s"),
    (UNIT, "DropInPaths", b"as"),
    (UNIT, "UnitFileState", b"s"),
    (SERVICE, "CPUUsageNSec", b"t"),
)


@dataclass(frozen=True, slots=True)
class UnitState:
    """A service unit's properties under systemd's own names, from one consistent moment."""

    unit: str
    load_state: str
    """loaded, not-found, bad-setting, error, masked."""
    active_state: str
    """active, reloading, inactive, failed, activating, deactivating."""
    sub_state: str
    """dead, start, running, stop-sigterm, auto-restart, failed, ... (man systemctl)."""
    result: str
    """success, exit-code, signal, core-dump, timeout, watchdog, oom-kill, ..."""
    exec_main_code: int
    """CLD_EXITED 1, CLD_KILLED 2, CLD_DUMPED 3; 0 while it runs or has never run."""
    exec_main_status: int
    """The exit status or the signal's number."""
    main_pid: int
    """0 when no main process runs."""
    invocation_id: str
    """32 hexadecimal digits, new with each start; "" when there was none."""
    n_restarts: int
    need_daemon_reload: bool
    fragment_path: str
    drop_in_paths: tuple[str, ...]
    unit_file_state: str
    """linked, enabled, static, ...; "" when there is no file."""
    command_line: tuple[str, ...]
    """argv of the main process once it runs; () when there is none."""
    cpu_seconds: float | None
    """CPU time of all its processes in this run; None where CPUAccounting= is off."""

    @property
    def pending_restart(self) -> bool:
        """Tells that systemd will start it again by itself."""
        return self.sub_state in AUTO_RESTART


def read_unit(
    connection: Connection, unit: str, command_line_of: Callable[[str, str, int], tuple[str, ...]]
) -> UnitState:
    """Reads the properties one by one, again if the state changed meanwhile.

    One by one costs 0.4 ms of CPU; GetAll decodes 400 properties and costs 1.5 ms. command_line_of:
    unit, invocation id, PID -> argv. Raises SystemdError.
    """
    path = unit_path(unit)
    for _ in range(_CONSISTENT_READS):
        before = connection.get(path, UNIT, "StateChangeTimestampMonotonic", b"t")
        raw = {name: connection.get(path, interface, name, kind) for interface, name, kind in _READ}
        if connection.get(path, UNIT, "StateChangeTimestampMonotonic", b"t") == before:
            break
    return _state(unit, raw, command_line_of)


def _state(
    unit: str,
    raw: dict[str, object],
    command_line_of: Callable[[str, str, int], tuple[str, ...]],
) -> UnitState:
    invocation_id = bytes(_int(byte) for byte in _list(raw["InvocationID"])).hex()
    main_pid = _int(raw["MainPID"])
    nanoseconds = _int(raw["CPUUsageNSec"])
    # While it starts, the process is still systemd's own fork, before exec.
    runs = main_pid > 0 and _text(raw["SubState"]) not in ("start", "start-pre", "condition")
    return UnitState(
        unit=unit,
        load_state=_text(raw["LoadState"]),
        active_state=_text(raw["ActiveState"]),
        sub_state=_text(raw["SubState"]),
        result=_text(raw["Result"]),
        exec_main_code=_int(raw["ExecMainCode"]),
        exec_main_status=_int(raw["ExecMainStatus"]),
        main_pid=main_pid,
        invocation_id=invocation_id,
        n_restarts=_int(raw["NRestarts"]),
        need_daemon_reload=bool(raw["NeedDaemonReload"]),
        fragment_path=_text(raw["FragmentPath"]),
        drop_in_paths=tuple(_text(path) for path in _list(raw["DropInPaths"])),
        unit_file_state=_text(raw["UnitFileState"]),
        command_line=command_line_of(unit, invocation_id, main_pid) if runs else (),
        cpu_seconds=None if nanoseconds == _NOT_COUNTED else nanoseconds / 1e9,
    )


class CommandLines:
    """Reads argv of main processes from /proc, once for each invocation and PID."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int, tuple[str, ...]]] = {}

    def of(self, unit: str, invocation_id: str, main_pid: int) -> tuple[str, ...]:
        """Returns argv, () when the process is gone."""
        known = self._known.get(unit)
        if known is not None and known[:2] == (invocation_id, main_pid):
            return known[2]
        try:
            raw = Path(f"/proc/{main_pid}/cmdline").read_bytes()
        except OSError:
            return ()
        argv = tuple(part.decode(errors="replace") for part in raw.split(b"\0")[:-1])
        if argv:
            self._known[unit] = (invocation_id, main_pid, argv)
        return argv


def _text(value: object) -> str:
    assert isinstance(value, bytes)
    return value.decode(errors="replace")


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
