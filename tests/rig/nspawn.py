# SPDX-License-Identifier: Apache-2.0
"""What a container is made of: an overlay of a root, a systemd-nspawn, and a control group."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from tests.rig import paths
from tests.rig.cgroups import Cgroup

Suite = Literal["bookworm", "trixie"]
T = TypeVar("T")

BOOT_SECONDS: Final = 60
POLL_SECONDS: Final = 0.05
REST_SECONDS: Final = 1.0
"""The longest rest between two looks."""
SCRATCH: Final = Path("/var/tmp")
SCRATCH_PREFIX: Final = "llmagent-test-"
# Runs in a mount namespace of its own, so that the overlay and nspawn's /run vanish with it.
_BOOT: Final = """
set -e
lower=$1 here=$2; shift 2
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/nspawn
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$here/upper,workdir=$here/work" "$here/root"
exec systemd-nspawn -D "$here/root" --boot --register=no --keep-unit --console=pipe \
    --private-network --resolv-conf=off --timezone=off --link-journal=no "$@"
"""


@dataclass(frozen=True, slots=True)
class Bind:
    """A directory or file of the host that the container sees, read-only unless writable."""

    source: Path
    target: str
    writable: bool = False

    def option(self) -> str:
        """Returns it as systemd-nspawn's option."""
        kind = "--bind" if self.writable else "--bind-ro"
        return f"{kind}={self.source}:{self.target}"


class Nspawn:
    """One container from the outside: its disk and its power switch."""

    def __init__(
        self, suite: Suite, binds: Sequence[Bind], memory_limit: int, *, unified: bool
    ) -> None:
        self._binds = tuple(binds)
        # Without it systemd takes the hierarchy that the host has, which may be a hybrid.
        self._environment = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"} if unified else {}
        self._lower = paths.part(suite)
        # nspawn takes the name for a machine name, which may hold no underscore.
        self._here = SCRATCH / f"{SCRATCH_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        for name in ("upper", "work", "root"):
            (self._here / name).mkdir(parents=True, mode=0o755)
        self._console = self._here / "console.log"
        self._cgroup = Cgroup(self._here.name, memory_limit)
        self._outer: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """PID of the container's PID 1, as the host sees it; 0 while it is off."""

    def start(self) -> None:
        """Switches it on and waits for its PID 1, not for more."""
        self._cgroup.make()
        # A PID namespace around nspawn: its end, by kill or with our own, is the end of all.
        enter = ["setpriv", "--pdeathsig", "KILL"]
        enter += ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        script = ["bash", "-c", _BOOT, "boot", str(self._lower), str(self._here)]
        options = [f"--machine={self._here.name}", *(bind.option() for bind in self._binds)]
        with self._console.open("ab") as console:
            self._outer = subprocess.Popen(
                [*self._cgroup.enter(), *enter, *script, *options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={**os.environ, **self._environment},
            )
        self.leader = wait(self._find_leader, BOOT_SECONDS, "systemd as PID 1")

    def _find_leader(self) -> int:
        assert self._outer is not None
        if self._outer.poll() is not None:
            raise AssertionError(f"the container did not boot:\n{self.console()}")
        for nspawn in _children(self._outer.pid):
            for leader in _children(nspawn):
                if _command(leader) == "systemd":
                    return leader
        return 0

    def console(self) -> str:
        """Returns the end of what it wrote to its console, over all boots."""
        return self._console.read_text(errors="replace")[-4000:]

    def wait_until_off(self, timeout: float) -> None:
        """Waits for the end of a shutdown."""
        assert self._outer is not None
        self._outer.wait(timeout)
        self._gone()

    def kill(self) -> None:
        """Ends every process at once; without effect on one that is off."""
        if self._outer is not None:
            self._outer.kill()
            self._outer.wait(10)
            self._gone()

    def _gone(self) -> None:
        # The kernel ends the processes of a PID namespace with its PID 1, but not at once.
        leader, self.leader = self.leader, 0
        if leader:
            wait(lambda: not _command(leader), 60, "the end of every process")
        self._outer = None
        self._cgroup.remove()

    def remove(self) -> None:
        """Ends it, and removes its disk."""
        self.kill()
        shutil.rmtree(self._here, ignore_errors=True)


def wait(predicate: Callable[[], T], timeout: float, what: str) -> T:
    """Returns the first true value of the predicate; TimeoutError after timeout seconds.

    After a look comes a rest of twice its length: to look is to run a command, which takes from
    what is waited for.
    """
    end = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        if value := predicate():
            return value
        now = time.monotonic()
        if now > end:
            raise TimeoutError(f"waited {timeout} s in vain for {what}")
        time.sleep(min(max(POLL_SECONDS, 2 * (now - began)), REST_SECONDS))


def sweep() -> None:
    """Removes what test runs that were killed have left on the disk."""
    for directory in SCRATCH.glob(f"{SCRATCH_PREFIX}*"):
        owner = directory.name.removeprefix(SCRATCH_PREFIX).split("-")[0]
        if not Path(f"/proc/{owner}").exists():
            Cgroup(directory.name).remove()
            shutil.rmtree(directory, ignore_errors=True)


def _children(pid: int) -> list[int]:
    """Returns the child processes of a process; none if it is gone."""
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _command(pid: int) -> str:
    """Returns the name of a live process, "" when there is none (a zombie is none)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    name, _, rest = stat.partition("(")[2].rpartition(")")
    return "" if rest.split()[0] == "Z" else name
