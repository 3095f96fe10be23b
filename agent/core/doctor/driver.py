# SPDX-License-Identifier: Apache-2.0
"""The NVIDIA driver: new enough, in one piece, and not about to be replaced unseen."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.core.doctor.finding import Finding, fail, ok, skipped, unknown, warning
from agent.core.gpu.reading import Driver, Gpus
from agent.core.record import dataclass

MINIMUM = {11: (450, 80), 12: (525, 60), 13: (580, 65)}
"""The oldest driver that runs any release of a CUDA major version (CUDA compatibility guide)."""

OWN = {
    (12, 0): (525, 60),
    (12, 1): (530, 30),
    (12, 2): (535, 54),
    (12, 3): (545, 23),
    (12, 4): (550, 54),
    (12, 5): (555, 42),
    (12, 6): (560, 28),
    (12, 8): (570, 26),
    (12, 9): (575, 51),
    (13, 0): (580, 65),
}
"""The driver that a CUDA release came with; older ones cannot compile its PTX (Triton kernels)."""


@dataclass(frozen=True, slots=True)
class Upgrades:
    """What apt may do by itself: `packages` are the installed NVIDIA ones that nothing holds.

    `reboots_at` is when it reboots the host after an upgrade that asks for it, "" for never.
    """

    unattended: bool = False
    packages: tuple[str, ...] = ()
    reboots_at: str = ""


def judge_cuda(service: str, cuda: str | None, driver: Driver | None) -> Finding:
    """Compare the driver with the CUDA release that the engine's torch was built for."""
    check = "driver-cuda"
    if cuda is None:
        return skipped(check, "torch is a build without CUDA, or is not installed", service)
    if driver is None or not driver.module_version:
        return unknown(check, "no NVIDIA driver is loaded", "Install the driver.", service)
    built, loaded = _pair(cuda), _pair(driver.module_version)
    told = f"torch is built for CUDA {cuda}, driver {driver.module_version} is loaded"
    least = MINIMUM.get(built[0])
    if least is None:
        return unknown(check, f"{told}; this CUDA release is not known here", service=service)
    if loaded < least:
        fix = f"Install driver {least[0]} or newer, or a vLLM built for an older CUDA."
        return fail(check, told, fix, service)
    own = OWN.get(built)
    if own is not None and loaded < own:
        fix = f"Install driver {own[0]}: kernels that are compiled at run time may not load."
        return warning(check, told, fix, service)
    return ok(check, told, service)


def judge_mismatch(gpus: Gpus | None) -> Finding:
    """Tell whether the next process would meet another library than the loaded module."""
    check = "driver-in-one-piece"
    if gpus is None or not gpus.driver.module_version:
        return skipped(check, "no NVIDIA driver is loaded")
    driver = gpus.driver
    if driver.mismatch:
        told = f"module {driver.module_version} is loaded, library {driver.library_version} is "
        told += "installed: what runs goes on, the next start fails"
        return fail(check, told, "Reboot at a time of your choice (or unload and load the module).")
    installed = driver.installed_module_version
    if installed and installed != driver.module_version:
        told = f"module {driver.module_version} is loaded, the next boot loads {installed}"
        if driver.library_version and installed != driver.library_version:
            fix = "Bring module and library to one version (dkms status), before a reboot."
            return fail(check, f"{told}, the library is {driver.library_version}", fix)
        return warning(check, told, "Plan a reboot.")
    return ok(check, f"module and library are {driver.module_version}")


def judge_upgrades(upgrades: Upgrades | None) -> Finding:
    """Tell whether unattended-upgrades may replace the driver under a running engine."""
    check = "unattended-upgrades"
    if upgrades is None:
        return skipped(check, "no apt on this host")
    if not upgrades.unattended:
        return ok(check, "unattended-upgrades is off")
    if not upgrades.packages and upgrades.reboots_at:
        told = f"unattended-upgrades reboots the host at {upgrades.reboots_at} when it must"
        fix = 'Set Unattended-Upgrade::Automatic-Reboot "false", or a time when nobody asks.'
        return warning(check, told, fix)
    if not upgrades.packages:
        return ok(check, "unattended-upgrades is on, no NVIDIA package is open to it")
    few = ", ".join(upgrades.packages[:3]) + (" ..." if len(upgrades.packages) > 3 else "")
    fix = 'Hold them (apt-mark hold ...) or add "nvidia" and "libnvidia" to '
    fix += "Unattended-Upgrade::Package-Blacklist; upgrade the driver with a reboot."
    return warning(check, f"{len(upgrades.packages)} NVIDIA packages may be replaced: {few}", fix)


def judge_gpus(gpus: Gpus | None, lost: Sequence[str] = (), *, needed: bool) -> Finding:
    """Tell whether every card is there and well; `needed`: an engine here is built for CUDA.

    `lost` are the cards that the daemon knows and cannot reach: a program that opens NVML after
    the loss does not see them at all.
    """
    check = "gpu"
    if gpus is not None and gpus.nameless:
        lost = [*lost, *(f"GPU {index}" for index in gpus.nameless if not lost)]
    if lost:
        told = f"{', '.join(lost)}: fallen off the bus, NVML cannot reach it"
        return fail(check, told, "Reboot; look for Xid 79 in the kernel log.")
    if not needed and (gpus is None or gpus.driver.problem or not gpus.gpus):
        return skipped(check, "no GPU, and no engine here that is built for one")
    if gpus is None:
        return unknown(check, "NVML was not asked")
    if gpus.driver.problem:
        return fail(check, gpus.driver.problem, "Install or repair the NVIDIA driver.")
    if not gpus.gpus:
        return fail(check, "the driver sees no GPU", "Look at lspci and at the kernel log.")
    for gpu in gpus.gpus:
        if gpu.lost:
            told = f"GPU {gpu.index} ({gpu.name}) has fallen off the bus"
            return fail(check, told, "Reboot; look for Xid 79 in the kernel log.")
        if gpu.reset_required or gpu.recovery_action:
            told = f"GPU {gpu.index} ({gpu.name}) asks for a reset"
            return fail(check, told, f"nvidia-smi -r -i {gpu.index}, or reboot.")
        if gpu.row_remap_failed:
            told = f"GPU {gpu.index} ({gpu.name}) could not remap a broken row of its memory"
            return fail(check, told, "Have the card replaced.")
    names = ", ".join(f"{gpu.index}: {gpu.name}" for gpu in gpus.gpus)
    return ok(check, names)


def judge_persistence(gpus: Gpus | None, uptime_seconds: float) -> Finding:
    """Tell whether the driver would be unloaded, and the power cap lost, with its last client."""
    check = "persistence-mode"
    known = [] if gpus is None else [g for g in gpus.gpus if g.persistence_mode is not None]
    if not known:
        return skipped(check, "no card tells")
    off = [gpu for gpu in known if not gpu.persistence_mode]
    if not off:
        return ok(check, "on")
    if uptime_seconds < 120:
        return ok(check, "off yet, the host has just booted")
    told = f"off on GPU {', '.join(str(gpu.index) for gpu in off)}"
    fix = "nvidia-smi -pm 1, or [power] persistence_mode = true: without it the power cap and the "
    fix += "clocks are lost when the last process leaves the card."
    return warning(check, told, fix)


def _pair(version: str) -> tuple[int, int]:
    found = re.match(r"(\d{1,9})\.(\d{1,9})", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)
