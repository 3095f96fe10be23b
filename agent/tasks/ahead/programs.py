# SPDX-License-Identifier: Apache-2.0
"""Runs `python -m agent.tasks.ahead` apart from the agent, with rights that the agent lacks.

To list takes a look into processes of vLLM's user (CAP_SYS_PTRACE), to ask the kernel what of a
root's file is in memory takes CAP_FOWNER; a unit that lives for seconds has them, the agent does
not. The reading is a unit of the package, which systemd starts by itself at a boot. It has no
MemoryMax=: what it reads into the page cache is counted as its own, and would push itself out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import agent
from agent.core.hub.cache import hub_cache, repositories
from agent.core.plain import plain
from agent.core.settings.service import Settings
from agent.core.state.start.ahead import FilesRead
from agent.core.unit.environment import cache_directory
from agent.errors import HostLacksError
from agent.host.models.place import cached, local
from agent.host.systemd import SystemdBus
from agent.host.systemd.transient import as_transient_unit
from agent.places import AHEAD_DIRECTORY, AHEAD_REPORT, AHEAD_UNIT, AHEAD_WANTED

LISTS: Final = AHEAD_DIRECTORY.name
REPORT_BYTES: Final = 1 << 20
SIZES: Final = ("files", "size_bytes", "resident_bytes", "read_bytes")
NOTHING_SAID: Final = f"{AHEAD_UNIT} has said nothing (`journalctl -u {AHEAD_UNIT}`)"

LIST_SECONDS: Final = 120
START_SECONDS: Final = 10.0
READ_SECONDS: Final = 600.0
"""RuntimeMaxSec= of the unit that reads."""

LOOK_SECONDS: Final = 0.5
LONGEST: Final = 200

_PROPERTIES: Final = {
    "RuntimeMaxSec": str(LIST_SECONDS),
    "TimeoutStopSec": "2",
    "Nice": "19",
    "IOSchedulingClass": "idle",
    "CapabilityBoundingSet": "CAP_DAC_READ_SEARCH CAP_SYS_PTRACE CAP_FOWNER",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "read-only",
    "PrivateDevices": "yes",
    "PrivateNetwork": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectControlGroups": "yes",
    "RestrictNamespaces": "yes",
    "RestrictAddressFamilies": "AF_UNIX",
    "LockPersonality": "yes",
    "SystemCallArchitectures": "native",
    "MemoryMax": "512M",
    "TasksMax": "16",
    "OOMScoreAdjust": "800",
    "WorkingDirectory": "/",
}
"""systemd 252 and 257 know each of them."""


def list_files(
    lists: Path, running: Settings, read_paths: Sequence[str], pids: Sequence[int]
) -> tuple[int, int]:
    """Write the list of what this service's start has read; returns its files and bytes.

    Raises HostLacksError, OSError.
    """
    roots = [*read_paths, f"/var/cache/{cache_directory(running)}"]
    argv = [
        *(sys.executable, "-BsS", "-m", "agent.tasks.ahead", "take"),
        *(f"--root={root}" for root in roots),
        *(f"--model={place}" for place in models_of(running)),
        *map(str, pids),
    ]
    environment = f"PYTHONPATH={Path(agent.__file__).parent.parent}"
    launcher = as_transient_unit(
        {**_PROPERTIES, "Environment": environment},
        "--description=Lists what a start of vLLM reads, for llmagent",
    )
    lists.mkdir(mode=0o700, exist_ok=True)
    beside = lists / f"{running.name}.new"
    with beside.open("w") as stream:
        try:
            done = subprocess.run(
                [*launcher, *argv],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=LIST_SECONDS + 10,
            )
        except subprocess.TimeoutExpired as late:
            raise HostLacksError(f"the list was not done after {LIST_SECONDS} s") from late
    said = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    counts = _object(said)
    if done.returncode != 0 or not counts:
        beside.unlink()
        raise HostLacksError(plain(f"status {done.returncode}: {said}", LONGEST))
    os.replace(beside, lists / running.name)  # noqa: PTH105
    return int(counts["files"]), int(counts["size_bytes"])


def read_ahead(bus: SystemdBus, service: str, *, begun: bool) -> FilesRead | None:
    """Have the service's files read, or wait for a reading that has `begun`; None: nothing told.

    Raises SystemdError, OSError.
    """
    before = None if begun else _written_at()
    if not begun:
        AHEAD_WANTED.write_text(f"{service}\n")
        bus.start(AHEAD_UNIT, START_SECONDS)
    _wait(bus)
    AHEAD_WANTED.unlink(missing_ok=True)
    if before is not None and _written_at() == before:
        return None
    return next((read for name, read in reports_in(AHEAD_REPORT) if name == service), None)


def _written_at() -> int:
    """Return when the last report was written, in ns; 0 where there is none."""
    try:
        return AHEAD_REPORT.stat().st_mtime_ns
    except OSError:
        return 0


def _wait(bus: SystemdBus) -> None:
    deadline = time.monotonic() + READ_SECONDS
    while bus.read(AHEAD_UNIT).active_state not in ("inactive", "failed"):
        if time.monotonic() > deadline:
            return
        time.sleep(LOOK_SECONDS)


def models_of(running: Settings) -> Iterator[str]:
    """Give the directories of the model's and the tokenizer's files, as far as they are here."""
    try:
        if running.model.startswith("/"):
            yield str(local(running.model).directory)
            return
        cache = Path(hub_cache(running))
        for repository in repositories(running):
            place = cached(cache, repository.name, repository.revision)
            if place is not None:
                yield str(place.directory)
    except OSError:
        return


def reports_in(file: Path) -> Iterator[tuple[str, FilesRead]]:
    """Give what came of each service's files; a line that says nothing is left out."""
    try:
        with file.open(errors="replace") as stream:
            text = stream.read(REPORT_BYTES)
    except OSError:
        return
    for line in text.splitlines():
        report = _object(line)
        try:
            files, size, resident, read = (int(report[name]) for name in SIZES)
            stopped = plain(str(report["stopped"]), LONGEST)
            yield str(report["service"]), FilesRead(files, size, resident, read, stopped)
        except (KeyError, ValueError, TypeError):
            continue


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
