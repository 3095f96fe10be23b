# SPDX-License-Identifier: Apache-2.0
"""What systemd, journald and their neighbours are set to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agent.core.doctor.host import Journal
from agent.core.doctor.neighbours import Rival
from agent.host.probes.command import output_of
from agent.places import UNIT_DIRECTORY

ETC = Path("/etc/systemd")
NEEDRESTART = Path("/etc/needrestart")
_ENGINES = re.compile(
    r"^ExecStart=.*\b(vllm|ollama|sglang|text-generation-launcher|llama-server|tritonserver|lmdeploy"
    r"|trtllm-serve)\b",
    re.M,
)
_PORT = re.compile(
    r"^ExecStart=.*(?:--port[ =]|-p[ =](?:\d{1,3}(?:\.\d{1,3}){3}:)?)(\d{2,5})", re.M
)
USUAL_PORTS = {"vllm": 8000, "tritonserver": 8000, "trtllm-serve": 8000, "sglang": 30000}
_POWER = re.compile(
    r"^ExecStart=.*(?:nvidia-powerd|nvidia-smi\b.{0,400}(?:\s-pl\b|--power-limit|\s-lgc\b|--lock-gpu))",
    re.M,
)
_RATE = re.compile(r"^RateLimitBurst=\s*(\d{1,18})", re.M)
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


def rivals(own: frozenset[str]) -> tuple[Rival, ...]:
    """Return enabled units that start an engine and are none of ours."""
    found = {}
    for unit, text in _enabled():
        engine = _ENGINES.search(text)
        if unit not in own and engine:
            ports = {int(port) for port in _PORT.findall(text)}
            ports |= {USUAL_PORTS[engine[1]]} if not ports and engine[1] in USUAL_PORTS else set()
            found[unit] = Rival(unit, engine[1], frozenset(ports))
    return tuple(found[unit] for unit in sorted(found))


def power_setters(own: frozenset[str]) -> tuple[str, ...]:
    """Return enabled units that set power caps or clocks of NVIDIA's cards."""
    return tuple(sorted({u for u, text in _enabled() if u not in own and _POWER.search(text)}))


def foreign_unit_file(unit: str) -> str:
    """Return the path of a file that is not ours where systemd would link ours, "" for none."""
    place = ETC / "system" / unit
    if not place.exists() or place.resolve().is_relative_to(UNIT_DIRECTORY):
        return ""
    return str(place)


def _enabled() -> Iterator[tuple[str, str]]:
    for link in sorted((ETC / "system").glob("*.wants/*.service")):
        file = link.resolve()
        if not file.is_relative_to(UNIT_DIRECTORY):
            drop_ins = sorted((ETC / "system" / f"{link.name}.d").glob("*.conf"))
            text = "\n".join(map(_read, (file, *drop_ins)))
            yield link.name, text.replace("\\\n", " ")


def needrestart() -> tuple[bool, bool]:
    """Return whether needrestart is there, and whether it leaves units of vLLM's name alone."""
    if not any(Path(place, "needrestart").exists() for place in ("/usr/sbin", "/sbin")):
        return False, False
    files = [NEEDRESTART / "needrestart.conf", *(NEEDRESTART / "conf.d").glob("*.conf")]
    lines = [line for file in files for line in _read(file).splitlines()]
    said = (line for line in lines if not line.lstrip().startswith("#"))
    excluded = any("vllm" in line or "llmagent/units" in line for line in said)
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
