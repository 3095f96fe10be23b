# SPDX-License-Identifier: Apache-2.0
"""What systemd, journald and their neighbours are set to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agent.core.doctor.host import Journal
from agent.host.probes.command import output_of

ETC = Path("/etc/systemd")
UNITS = (ETC / "system", Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
OWN = Path("/etc/llmagent/units")
NEEDRESTART = Path("/etc/needrestart")
_EXEC_VLLM = re.compile(r"^ExecStart=.*\bvllm\b", re.M)
_RATE = re.compile(r"^RateLimitBurst=\s*(\d+)", re.M)
_STORAGE = re.compile(r"^Storage=\s*(\w+)", re.M)


def journal(unit_file: Path) -> Journal:
    """Return journald's settings as they hold for a unit's file."""
    text = "\n".join(_read(file) for file in _journald_files())
    storage = (_STORAGE.findall(text) or ["auto"])[-1]
    kept = Path("/var/log/journal").is_dir()
    burst = int((_RATE.findall(text) or ["10000"])[-1])
    return Journal(
        persistent=storage == "persistent" or (storage == "auto" and kept),
        rate_limit_burst=burst,
        unit_rate_limited="LogRateLimitIntervalSec=0" not in _read(unit_file),
    )


def _journald_files() -> list[Path]:
    places = (Path("/usr/lib/systemd/journald.conf.d"), Path("/run/systemd/journald.conf.d"))
    drop_ins = [file for place in places for file in sorted(place.glob("*.conf"))]
    return [ETC / "journald.conf", *drop_ins, *sorted((ETC / "journald.conf.d").glob("*.conf"))]


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def other_engine_units(own: frozenset[str]) -> tuple[str, ...]:
    """Return enabled units that start vLLM and are none of ours."""
    return tuple(sorted({name for name in _enabled() if name not in own}))


def _enabled() -> Iterator[str]:
    for link in (ETC / "system").glob("*.wants/*.service"):
        file = link.resolve()
        if not file.is_relative_to(OWN) and _EXEC_VLLM.search(_read(file)):
            yield link.name


def needrestart() -> tuple[bool, bool]:
    """Return whether needrestart is there, and whether it leaves units of vLLM's name alone."""
    if not NEEDRESTART.is_dir():
        return False, False
    files = [NEEDRESTART / "needrestart.conf", *(NEEDRESTART / "conf.d").glob("*.conf")]
    lines = [line for file in files for line in _read(file).splitlines()]
    excluded = any("override_rc" in line and "vllm" in line for line in lines)
    return True, excluded


def clock_is_synchronized() -> bool | None:
    """Return what timedated says; None when it does not answer."""
    said = output_of("timedatectl", "show", "--property=NTPSynchronized", "--value")
    return {"yes": True, "no": False}.get(said or "")


def is_active(unit: str) -> bool | None:
    """Return whether a unit is active; None when systemd does not answer."""
    said = output_of("systemctl", "show", "--property=ActiveState", "--value", unit)
    return None if said is None else said == "active"


def runtime_version(runtime: str) -> str | None:
    """Return the version of docker or podman; None when it is missing or does not answer."""
    return output_of(runtime, "--version")
