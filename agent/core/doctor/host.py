# SPDX-License-Identifier: Apache-2.0
"""The host: memory, shared memory, ports, time, journal, and who else runs an engine."""

from __future__ import annotations

import re

from agent.core.command.parallel import parallel_of
from agent.core.command.picture import picture_of
from agent.core.doctor.finding import Finding, fail, ok, skipped, unknown, warning
from agent.core.measures import GIB
from agent.core.record import dataclass
from agent.core.settings.service import Settings

MIB = 1024**2
SHM_BYTES_A_RANK = 160 * MIB
"""What vLLM 0.32 asks of /dev/shm for the queue to its workers."""

_CONTAINER = re.compile(r"(?:docker|libpod)-([0-9a-f]{12})[0-9a-f]*\.scope")


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes of the host's memory, swap and /dev/shm."""

    total: int = 0
    available: int = 0
    swap_total: int = 0
    swap_free: int = 0
    shm_total: int = 0
    shm_free: int = 0


@dataclass(frozen=True, slots=True)
class Listener:
    """Who listens on a TCP port; `unit` is the systemd unit by its cgroup, "" for none."""

    pid: int
    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Journal:
    """journald's settings: `persistent` whether the journal outlives a reboot."""

    persistent: bool
    rate_limit_burst: int
    unit_rate_limited: bool


@dataclass(frozen=True, slots=True)
class EngineProcess:
    """A process of vLLM's that is in no unit of ours."""

    pid: int
    name: str
    unit: str


def judge_shared_memory(settings: Settings, memory: HostMemory) -> Finding:
    """Tell whether /dev/shm holds the queues between vLLM's processes."""
    check, service = "shared-memory", settings.name
    gpus = parallel_of(picture_of(settings)).gpus
    needed = SHM_BYTES_A_RANK * gpus
    told = f"{memory.shm_free / MIB:.0f} of {memory.shm_total / MIB:.0f} MiB of /dev/shm are free"
    if memory.shm_total == 0:
        return unknown(check, "no /dev/shm is mounted", "mount -t tmpfs tmpfs /dev/shm", service)
    if gpus > 1 and memory.shm_free < needed:
        fix = f"Make it larger: mount -o remount,size={max(2, needed // GIB + 1)}G /dev/shm"
        return fail(check, f"{told}, {needed // MIB} MiB are needed", fix, service)
    return ok(check, told, service)


def judge_memory(memory: HostMemory) -> Finding:
    """Tell whether the host is short of memory, or swaps."""
    check = "host-memory"
    told = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB are available"
    if memory.available < 0.05 * memory.total:
        return warning(check, told, "The kernel will soon kill something: find what grew.")
    swapped = memory.swap_total - memory.swap_free
    told = f"{told}, {memory.swap_total / GIB:.1f} GiB of swap" if memory.swap_total else told
    if swapped > 0.5 * memory.swap_total > 0:
        words = f"{told}, {swapped / GIB:.1f} GiB are swapped out"
        return warning(check, words, "Token rates fall when the engine's memory is swapped.")
    return ok(check, told)


def judge_port(settings: Settings, listener: Listener | None) -> Finding:
    """Tell whether the service can listen where it shall."""
    check, service = "port", settings.name
    if listener is None:
        return ok(check, f"{settings.port} is free", service)
    if listener.unit == settings.unit:
        return ok(check, f"{settings.port} is the service's own", service)
    if not listener.pid:
        # The agent looks at night, without the right to see into the engine's own processes.
        told = f"{settings.port} is taken by {listener.name}: the service's own, or another one"
        return unknown(check, told, "sudo llmagent doctor", service)
    whose = f" of {listener.unit}" if listener.unit else ""
    told = f"{settings.port} is taken by {listener.name} (pid {listener.pid}){whose}"
    return fail(check, told, "Stop it, or choose another port.", service)


def judge_time(synchronized: bool | None) -> Finding:
    """Tell whether the clock is kept: tokens, certificates and the history depend on it."""
    check = "time-sync"
    if synchronized is None:
        return unknown(check, "timedatectl did not answer")
    if not synchronized:
        fix = "apt install systemd-timesyncd, or chrony."
        return warning(check, "the clock is not synchronized", fix)
    return ok(check, "the clock is synchronized")


def judge_journal(journal: Journal | None) -> Finding:
    """Tell whether the engine's last words are there after a crash, and all of them."""
    check = "journal"
    if journal is None:
        return unknown(check, "journald's configuration cannot be read")
    if not journal.persistent:
        fix = "mkdir /var/log/journal && systemctl restart systemd-journald"
        return warning(check, "the journal is lost at a reboot", fix)
    if journal.unit_rate_limited and 0 < journal.rate_limit_burst < 10_000:
        told = f"lines beyond {journal.rate_limit_burst} in 30 s are dropped"
        return warning(check, told, "Raise RateLimitBurst= in journald.conf.")
    return ok(check, "persistent, no limit on the engine's lines")


def judge_engines(processes: tuple[EngineProcess, ...]) -> Finding:
    """Name engines that run outside of our units: left behind, or somebody else's."""
    check = "other-engines"
    if not processes:
        return ok(check, "none")
    told = ", ".join(
        f"{p.name} (pid {p.pid}{f', {p.unit}' if p.unit else ''})" for p in processes[:4]
    )
    mains = [p for p in processes if not p.name.startswith("VLLM::")] or list(processes)
    names = dict.fromkeys(import_name(process) for process in mains)
    lines = ", ".join(f"`llmagent import {name}`" for name in list(names)[:3])
    fix = f"To have llmagent keep what serves: {lines}. End what is left over: it holds memory."
    return warning(check, told, fix)


def import_name(process: EngineProcess) -> str:
    """Return what `llmagent import` is to be given: the unit, the container, or the process."""
    if box := _CONTAINER.fullmatch(process.unit):
        return box[1]
    is_unit = process.unit.endswith(".service") and not process.unit.startswith("user@")
    return process.unit if is_unit else str(process.pid)


def judge_needrestart(*, installed: bool, excluded: bool) -> Finding:
    """Tell whether needrestart may restart an engine after a library's upgrade."""
    check = "needrestart"
    if not installed:
        return skipped(check, "not installed")
    if excluded:
        return ok(check, "leaves the engine alone")
    fix = "Put $nrconf{override_rc}{qr(^vllm)} = 0; into /etc/needrestart/conf.d/llmagent.conf, as "
    fix += "the package ships it."
    return warning(check, "restarts the engine after upgrades of its libraries", fix)


def judge_fabric(
    *, switches: int, running: bool | None, version: str = "", driver: str = ""
) -> Finding:
    """Tell whether NVSwitch is set up: without it CUDA fails with error 802.

    The manager refuses a driver of another version; `version` is the installed package's.
    """
    check = "fabric-manager"
    if switches == 0:
        return skipped(check, "no NVSwitch")
    if version and driver and version != driver:
        told = f"nvidia-fabricmanager {version} is installed beside driver {driver}"
        fix = f"apt install nvidia-fabricmanager of {driver}: it refuses any other at its start."
        return fail(check, told, fix)
    if not running:
        fix = "apt install nvidia-fabricmanager of the driver's version; systemctl start it."
        return fail(check, f"{switches} NVSwitch, and nvidia-fabricmanager is not running", fix)
    return ok(check, "nvidia-fabricmanager is running")


def judge_iommu(command_line: str, gpu_count: int) -> Finding:
    """Hint at an IOMMU that slows or breaks copies between cards."""
    check = "iommu"
    if gpu_count < 2:
        return skipped(check, "fewer than two cards")
    words = command_line.split()
    passes = "iommu=pt" in words or "amd_iommu=off" in words or "intel_iommu=off" in words
    forced = "intel_iommu=on" in words or "amd_iommu=on" in words
    if forced and not passes:
        fix = "Add iommu=pt to the kernel's command line, if NCCL hangs or is slow."
        return warning(check, "on, and not in pass-through", fix)
    return ok(check, "pass-through or not forced")
