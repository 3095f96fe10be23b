# SPDX-License-Identifier: Apache-2.0
"""The Python stacks of a hung process, through py-spy where that is installed.

py-spy reads the process's memory (process_vm_readv), which the kernel allows to the same user.
Where Yama restricts that to parents (kernel.yama.ptrace_scope 1 as on Ubuntu, or 2; Debian's
kernels have 0) it needs CAP_SYS_PTRACE, with which it could read any process: that is granted only
to a py-spy that nobody but root can replace. An engine in a container is root's with capabilities
of its own, which only CAP_SYS_PTRACE outranks.

Since 0.33 vLLM's own watchdog (--watchdog-config) leaves such stacks, too: each engine and worker
writes VLLM_STACK_DUMP_for_engine_0_PID.log or .._worker_RANK_PID.log into `dump_dir` when it does
not move. That directory is the service's user's: nothing but plain files of bounded size is read.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
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


_NAME = re.compile(r"VLLM_STACK_DUMP_for_(?:engine|worker)_\d{1,6}_(\d{1,10})\.log")
MOST_BYTES = 64 * 1024
"""Of the end of a file, where the last stall is."""

MOST_FILES = 4096


def watchdog_dumps(directory: str, pids: Iterable[int]) -> Mapping[int, str]:
    """Return what the watchdog wrote of these processes, by process id; never raises."""
    wanted = frozenset(pids)
    found: dict[int, str] = {}
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for _, entry in zip(range(MOST_FILES), entries, strict=False)]
    except OSError:
        return found
    for name in names:
        match = _NAME.fullmatch(name)
        if match is not None and (pid := int(match[1])) in wanted:
            text = _end_of(Path(directory) / name)
            if text:
                found[pid] = text
    return found


def _end_of(file: Path) -> str:
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            return ""
        data = os.pread(opened, MOST_BYTES, max(0, status.st_size - MOST_BYTES))
    except OSError:
        return ""
    finally:
        os.close(opened)
    return data.decode("utf-8", "replace").strip()
