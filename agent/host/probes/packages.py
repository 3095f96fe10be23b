# SPDX-License-Identifier: Apache-2.0
"""What apt may replace by itself (Debian's and Ubuntu's unattended-upgrades)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agent.core.doctor.driver import Upgrades
from agent.host.probes.command import output_of

DPKG_STATUS = Path("/var/lib/dpkg/status")
_NVIDIA = re.compile(
    r"(?:lib)?nvidia-|xserver-xorg-video-nvidia|linux-modules-nvidia-|cuda-drivers"
)
_FABRIC = re.compile(r"nvidia-fabric-?manager(?:-\d+)?$")
_SETTING = re.compile(r'^([\w:-]+)\s+"(.*)";$', re.M)


def upgrades() -> Upgrades | None:
    """Return what may be replaced unasked; None on a host without apt."""
    dump = output_of("apt-config", "dump")
    if dump is None or not DPKG_STATUS.is_file():
        return None
    settings = _SETTING.findall(dump)
    on = any(
        name == "APT::Periodic::Unattended-Upgrade" and value not in ("", "0")
        for name, value in settings
    )
    if not on:
        return Upgrades()
    blacklist = [
        value
        for name, value in settings
        if name.startswith("Unattended-Upgrade::Package-Blacklist::")
    ]
    free = tuple(name for name in _open_packages() if not _is_listed(name, blacklist))
    last = dict(settings)
    reboots = last.get("Unattended-Upgrade::Automatic-Reboot") in {"true", "1", "yes"}
    at = last.get("Unattended-Upgrade::Automatic-Reboot-Time", "now") if reboots else ""
    return Upgrades(unattended=True, packages=free, reboots_at=at)


def fabric_manager() -> str:
    """Return the version of the installed nvidia-fabricmanager, "" for none."""
    name, installed = "", False
    try:
        with DPKG_STATUS.open(encoding="utf-8", errors="replace") as status:
            for line in status:
                if line.startswith("Package: "):
                    name, installed = line[9:].strip(), False
                elif line.startswith("Status: "):
                    installed = line.rstrip().endswith(" installed")
                elif line.startswith("Version: ") and installed and _FABRIC.match(name):
                    return line[9:].strip().rpartition(":")[2].partition("-")[0]
    except OSError:
        return ""
    return ""


def _open_packages() -> Iterator[str]:
    name = ""
    with DPKG_STATUS.open(encoding="utf-8", errors="replace") as status:
        for line in status:
            if line.startswith("Package: "):
                name = line[9:].strip()
            elif line.startswith("Status: install ") and _NVIDIA.match(name):
                yield name


def _is_listed(name: str, patterns: list[str]) -> bool:
    for pattern in patterns:
        try:
            if re.match(pattern, name):
                return True
        except re.error:
            continue
    return False
