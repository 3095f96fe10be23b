# SPDX-License-Identifier: Apache-2.0
"""A Debian machine for one test: a throw-away overlay of a root, booted with systemd as PID 1.

It has its own processes, network (loopback, and a cable of a Lan where it was given one), journal
and D-Bus, and takes about a second to boot. Nothing of it outlives the test, not even a test run
that is killed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from tests.rig.lan import Cable, Lan
from tests.rig.nspawn import BOOT_SECONDS, Bind, Nspawn, Suite, wait

__all__ = ["Bind", "Container", "HttpAnswer", "Suite"]


PATIENCE_SECONDS: Final = 60.0
"""A machine that has other work takes as long for what a quiet one does at once."""

T = TypeVar("T")
Argument = str | os.PathLike[str]

_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}


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

    def __init__(
        self,
        suite: Suite,
        *,
        binds: Sequence[Bind] = (),
        memory_limit: int = 0,
        unified: bool = False,
        lan: Lan | None = None,
    ) -> None:
        """Makes its disk. memory_limit: bytes that its processes and page cache get, 0 for all.

        unified: it has control groups of version 2 alone, as Debian has, whatever the host has.
        lan: the switch that it is plugged into.
        """
        self.suite = suite
        self._cable = lan.cable() if lan is not None else None
        self._nspawn = Nspawn(suite, binds, memory_limit, unified=unified)

    @property
    def leader(self) -> int:
        """PID of the container's systemd, as the host sees it; 0 while it is off."""
        return self._nspawn.leader

    @property
    def cable(self) -> Cable:
        """What joins it to the Lan; AssertionError for a machine without one."""
        assert self._cable is not None, "the machine was given no lan"
        return self._cable

    def __enter__(self) -> Self:
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def boot(self) -> None:
        """Switches it on and waits until systemd says that start-up is over."""
        self._nspawn.start()
        if self._cable is not None:
            self._cable.plug(self.leader)
        self.wait_for(self._is_up, BOOT_SECONDS, "the end of start-up")

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

    def pid_on_host(self, pid: int) -> int:
        """Returns the PID by which the host knows a process of the container; 0 for none."""
        space = Path(f"/proc/{self.leader}/ns/pid").readlink()
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (place / "ns/pid").readlink() == space and _innermost(place) == pid:
                    return int(place.name)
        return 0

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
        """Returns the first true value of the predicate; AssertionError where none comes.

        timeout: seconds; no fewer than PATIENCE_SECONDS, as no limit here is a promise.
        """
        try:
            return wait(predicate, max(timeout, PATIENCE_SECONDS), what)
        except TimeoutError as late:
            raise AssertionError(f"{late}\n{self.tail()}") from late

    def tail(self, lines: int = 60) -> str:
        """Returns the end of the journal, to explain a failed test; the console's if it is off."""
        if not self.leader:
            return self._nspawn.console()
        argv = ["journalctl", "--no-pager", "--all", "-o", "short-precise", "-n", str(lines)]
        return self.run(argv, check=False).stdout

    def reboot(self) -> None:
        """Shuts down cleanly and boots again, with the same disk."""
        self.poweroff()
        self.boot()

    def poweroff(self, timeout: float = 120) -> None:
        """Shuts down cleanly, and leaves the disk for another boot."""
        self.run(["systemctl", "poweroff", "--no-block"], check=False)
        self._nspawn.wait_until_off(timeout)

    def kill9(self) -> None:
        """Pulls the plug: every process is gone at once; the disk stays for another boot."""
        self._nspawn.kill()

    def close(self) -> None:
        """Ends it, however it is, and removes its disk."""
        self._nspawn.remove()


def _innermost(place: Path) -> int:
    """Returns a process's PID in its own namespace."""
    lines = (place / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
