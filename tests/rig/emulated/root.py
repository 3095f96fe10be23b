# SPDX-License-Identifier: Apache-2.0
"""A Debian root of another processor, in which commands run under an emulator: not booted.

Like a container it is a throw-away overlay; unlike one it has the host's processes and no systemd.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from tests.rig import paths

_SCRATCH: Final = Path("/var/tmp")
# A mount namespace of its own: the overlay is gone with the process that holds it.
_HOLD: Final = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --bind /dev "$2/root/dev"
echo ready
exec sleep infinity
"""


def emulates_arm64() -> bool:
    """Tells the kernel how to run programs for arm64; False where it takes no emulator."""
    argv = [str(paths.SETUP), "--emulate-arm64"]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


class ForeignRoot:
    """An overlay of the arm64 root; use it as a context manager."""

    def __init__(self) -> None:
        """Makes its directories."""
        self._here = _SCRATCH / f"llmagent-arm64-{secrets.token_hex(4)}"
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        for name in ("upper", "work", "root"):
            (self._here / name).mkdir(parents=True, mode=0o755)
        enter = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount"]
        self._holder = subprocess.Popen(
            [*enter, "bash", "-c", _HOLD, "hold", str(paths.part("arm64")), str(self._here)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline()
        assert said == "ready\n", said + self._holder.stdout.read()
        return self

    def __exit__(self, *_: object) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.communicate()
        shutil.rmtree(self._here, ignore_errors=True)

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 120, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in it as root, with `text` for input; AssertionError if it fails."""
        assert self._holder is not None, "it is not entered"
        enter = ["nsenter", "-t", str(self._holder.pid), "-m", "chroot", str(self._here / "root")]
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        done = subprocess.run(
            [*enter, *environment, "DEBIAN_FRONTEND=noninteractive", "HOME=/root", *argv],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            input=text,
        )
        if check and done.returncode != 0:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{argv} ended with status {done.returncode}\n{said}")
        return done

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Writes a file as root, with the directories above it."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "write", path, f"{mode:o}"], text=text)

    def put(self, source: Path, path: str) -> None:
        """Copies a file of the host."""
        file = self._here / "root" / path.lstrip("/")
        assert self._holder is not None
        copy = ["nsenter", "-t", str(self._holder.pid), "-m", "cp", str(source), str(file)]
        subprocess.run(copy, check=True, capture_output=True)
