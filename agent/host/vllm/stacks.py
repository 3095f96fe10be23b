# SPDX-License-Identifier: Apache-2.0
"""The Python stacks of a hung process, through py-spy where that is installed.

py-spy reads the process's memory (process_vm_readv), which the kernel allows to the same user.
Where Yama restricts that to parents (kernel.yama.ptrace_scope 1 as on Ubuntu, or 2; Debian's
kernels have 0) it needs CAP_SYS_PTRACE, with which it could read any process: that is granted only
to a py-spy that nobody but root can replace. An engine in a container is root's with capabilities
of its own, which only CAP_SYS_PTRACE outranks.
"""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from agent.host.systemd.transient import TransientError, run_transient

SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
NOBODY_MAY = 3
PLACES = "/usr/local/bin:/usr/bin:/bin"
NOT_INSTALLED = "py-spy is not installed, so there are no Python stacks (pip install py-spy)"


BEGINS = "Process "
"""The first word of a dump; all else that py-spy says is why there is none."""

NEW_LINE = "\n"


class NoStackError(Exception):
    """There is no stack to be had; the text says why."""


def find_py_spy(python: str) -> str:
    """Return where py-spy is: beside the engine's interpreter, or on the system's path.

    Raises NoStackError when it is nowhere.
    """
    beside = Path(python).parent
    found = shutil.which("py-spy", path=f"{beside}:{PLACES}")
    if found is None:
        raise NoStackError(NOT_INSTALLED)
    return found


def dump_stacks(program: str, pid: int, uid: int, deadline_seconds: float) -> str:
    """Return the stacks of all threads of `pid`, a process of user `uid`; it is not paused.

    Raises NoStackError.
    """
    capabilities = _capabilities(program, uid)
    argv = [program, "dump", "--nonblocking", "--pid", str(pid)]
    try:
        said = run_transient(argv, uid, deadline_seconds, capabilities).strip()
    except TransientError as error:
        raise NoStackError(f"py-spy: {error}") from error
    if not said.startswith(BEGINS):
        raise NoStackError(f"py-spy of process {pid}: {said.partition(NEW_LINE)[0] or 'no word'}")
    return said


def _capabilities(program: str, uid: int) -> tuple[str, ...]:
    try:
        scope = int(SCOPE.read_text())
    except (OSError, ValueError):
        scope = 0
    if scope >= NOBODY_MAY:
        raise NoStackError(f"kernel.yama.ptrace_scope is {scope}: no process may look at another")
    if scope == 0 and uid != 0:
        return ()
    if not only_root_writes(Path(program)):
        why = f"kernel.yama.ptrace_scope is {scope}" if scope else "the engine runs as root"
        raise NoStackError(
            f"{why}, so py-spy needs CAP_SYS_PTRACE; {program} does"
            " not get it, as others than root can replace that: install it in /usr/local/bin"
        )
    return ("CAP_SYS_PTRACE",)


def only_root_writes(program: Path) -> bool:
    """Tell whether nobody but root can replace the file or a directory above it."""
    real = program.resolve()
    for part in (real, *real.parents):
        status = part.stat()
        loose = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if status.st_uid != 0 or (loose and not status.st_mode & stat.S_ISVTX):
            return False
    return True
