# SPDX-License-Identifier: Apache-2.0
"""A Debian machine for one test: a throw-away overlay of a root, booted with systemd as PID 1.

It has its own processes, network (loopback only), journal and D-Bus, and takes about a second to
boot. Nothing of it outlives the test, not even a test run that is killed.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, TypeVar

from tests.rig import paths
from tests.rig.cgroups import Cgroup

Suite = Literal["bookworm", "trixie"]
T = TypeVar("T")
Argument = str | os.PathLike[str]

BOOT_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.05
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
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


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One HTTP answer; status 0 when none came."""

    status: int
    body: str

    def json(self) -> object:
        """Returns the parsed body."""
        return json.loads(self.body)


class Container:
    """A machine to boot, break and throw away; use it as a context manager."""

    def __init__(self, suite: Suite, *, binds: Sequence[Bind] = (), memory_limit: int = 0) -> None:
        """Makes its disk. memory_limit: bytes that its processes and page cache get, 0 for all."""
        self.suite = suite
        self._binds = tuple(binds)
        self._lower = paths.part(suite)
        # nspawn takes the name for a machine name, which may hold no underscore.
        self._here = SCRATCH / f"{SCRATCH_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        for name in ("upper", "work", "root"):
            (self._here / name).mkdir(parents=True, mode=0o755)
        self._console = self._here / "console.log"
        self._cgroup = Cgroup(self._here.name, memory_limit)
        self._outer: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """PID of the container's systemd, as the host sees it; 0 while it is off."""

    def __enter__(self) -> Self:
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def boot(self) -> None:
        """Switches it on and waits until systemd says that start-up is over."""
        self._cgroup.make()
        # A PID namespace around nspawn: its end, by kill9 or with our own, is the end of all.
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
            )
        self.leader = self._wait(self._find_leader, BOOT_SECONDS, "systemd as PID 1")
        self.wait_for(self._is_up, BOOT_SECONDS, "the end of start-up")

    def _find_leader(self) -> int:
        assert self._outer is not None
        if self._outer.poll() is not None:
            raise AssertionError(f"the container did not boot:\n{self._console.read_text()}")
        for nspawn in _children(self._outer.pid):
            for leader in _children(nspawn):
                if _command(leader) == "systemd":
                    return leader
        return 0

    def _is_up(self) -> bool:
        state = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
        return state in ("running", "degraded")

    def _enter(self, environment: Mapping[str, str] | None) -> list[str]:
        assert self.leader, "the container is off"
        variables = _ENVIRONMENT | dict(environment or {})
        return [
            *("nsenter", "-t", str(self.leader), "-m", "-p", "-u", "-i", "-n", "--", "env", "-i"),
            *(f"{name}={value}" for name, value in variables.items()),
        ]

    def run(
        self,
        argv: Sequence[Argument],
        *,
        check: bool = True,
        timeout: float = 60,
        input: str | None = None,  # noqa: A002 - subprocess.run's name for it
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the container as root; AssertionError with its output if it fails."""
        done = subprocess.run(
            [*self._enter(env), *argv],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{argv} ended with status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def popen(
        self, argv: Sequence[Argument], *, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Starts a command in the container with pipes for its output; the caller ends it."""
        return subprocess.Popen(
            [*self._enter(env), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def popen_on_host(self, argv: Sequence[Argument]) -> subprocess.Popen[str]:
        """Starts a program of the host that sees the container's network and nothing else of it."""
        return subprocess.Popen(
            ["nsenter", "-t", str(self.leader), "-n", "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Writes a file as root, with the directories above it."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "write", path, f"{mode:o}"], input=text)

    def read(self, path: str) -> str:
        """Returns a file's text."""
        return self.run(["cat", path]).stdout

    def exists(self, path: str) -> bool:
        """Tells whether the path is there."""
        return self.run(["test", "-e", path], check=False).returncode == 0

    def put(self, source: Path, path: str) -> None:
        """Copies a file or directory of the host to the path, owned by root."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(source, arcname=path.lstrip("/"), filter=_as_root)
        subprocess.run(
            [*self._enter(None), "tar", "-x", "-C", "/"],
            check=True,
            input=packed.getvalue(),
            timeout=120,
        )

    def install(self, deb: Path, *options: str) -> str:
        """Installs a package with apt, without any network; returns what apt said."""
        self.put(deb, f"/tmp/{deb.name}")
        argv = ["apt-get", "install", "-y", "--allow-downgrades", *options, f"/tmp/{deb.name}"]
        done = self.run(argv, timeout=180)
        return done.stdout + done.stderr

    def journal(self, unit: str, output: str = "cat") -> str:
        """Returns everything that a unit's processes logged."""
        argv = ["journalctl", "--no-pager", "--all", "-o", output, f"_SYSTEMD_UNIT={unit}"]
        return self.run(argv, check=False).stdout

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Returns properties of a unit as `systemctl show` prints them."""
        argv = ["systemctl", "show", unit, *(f"--property={name}" for name in properties)]
        return dict(line.split("=", 1) for line in self.run(argv).stdout.splitlines() if line)

    def http_get(self, port: int, path: str, timeout: float = 10) -> HttpAnswer:
        """Gets a page from a port of the container's loopback."""
        return self._curl(port, path, timeout, [])

    def http_post(self, port: int, path: str, body: object, timeout: float = 30) -> HttpAnswer:
        """Posts JSON to a port of the container's loopback."""
        header = "Content-Type: application/json"
        return self._curl(port, path, timeout, ["-H", header, "-d", json.dumps(body)])

    def _curl(self, port: int, path: str, timeout: float, options: list[str]) -> HttpAnswer:
        argv = ["curl", "-s", "-m", str(timeout), "-w", "\n%{http_code}", *options]
        done = self.run(
            [*argv, f"http://127.0.0.1:{port}{path}"], check=False, timeout=timeout + 10
        )
        body, _, status = done.stdout.rpartition("\n")
        return HttpAnswer(int(status or 0), body)

    def wait_for(self, predicate: Callable[[], T], timeout: float, what: str) -> T:
        """Returns the first true value of the predicate; after timeout s, AssertionError."""
        try:
            return self._wait(predicate, timeout, what)
        except TimeoutError as late:
            raise AssertionError(f"{late}\n{self.tail()}") from late

    @staticmethod
    def _wait(predicate: Callable[[], T], timeout: float, what: str) -> T:
        end = time.monotonic() + timeout
        while True:
            if value := predicate():
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"waited {timeout} s in vain for {what}")
            time.sleep(_POLL_SECONDS)

    def tail(self, lines: int = 60) -> str:
        """Returns the end of the journal, to explain a failed test; the console's if it is off."""
        if not self.leader:
            return self._console.read_text(errors="replace")[-4000:]
        argv = ["journalctl", "--no-pager", "--all", "-o", "short-precise", "-n", str(lines)]
        return self.run(argv, check=False).stdout

    def reboot(self) -> None:
        """Shuts down cleanly and boots again, with the same disk."""
        self.poweroff()
        self.boot()

    def poweroff(self, timeout: float = 120) -> None:
        """Shuts down cleanly, and leaves the disk for another boot."""
        self.run(["systemctl", "poweroff", "--no-block"], check=False)
        assert self._outer is not None
        self._outer.wait(timeout)
        self._gone()

    def kill9(self) -> None:
        """Pulls the plug: every process is gone at once; the disk stays for another boot."""
        assert self._outer is not None
        self._outer.kill()
        self._outer.wait(10)
        self._gone()

    def _gone(self) -> None:
        # The kernel ends the processes of a PID namespace with its PID 1, but not at once.
        leader, self.leader = self.leader, 0
        if leader:
            self._wait(lambda: not _command(leader), 30, "the end of every process")
        self._outer = None
        self._cgroup.remove()

    def close(self) -> None:
        """Ends it, however it is, and removes its disk."""
        if self._outer is not None:
            self.kill9()
        shutil.rmtree(self._here, ignore_errors=True)


SCRATCH: Final = Path("/var/tmp")
SCRATCH_PREFIX: Final = "llmagent-test-"


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


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
