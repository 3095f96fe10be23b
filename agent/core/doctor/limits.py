# SPDX-License-Identifier: Apache-2.0
"""The limits under which the engine will run: its unit's, and the kernel's above them."""

from __future__ import annotations

from agent.core.command.parallel import parallel_of
from agent.core.command.picture import picture_of
from agent.core.doctor.finding import Finding, ok, unknown, warning
from agent.core.record import dataclass
from agent.core.settings.service import Settings

FEW_FILES = 65_536
FEW_TASKS = 4_096
NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a unit as systemd has it, None where it sets none (infinity) or is not loaded.

    `loaded` tells that systemd knows the unit; `ceiling` is the kernel's fs.nr_open, `open_files`
    and `most_files` the whole host's.
    """

    loaded: bool = False
    files: int | None = None
    locked_bytes: int | None = None
    tasks: int | None = None
    ceiling: int = 0
    open_files: int = 0
    most_files: int = 0


def judge_limits(settings: Settings, limits: Limits | None) -> Finding:
    """Tell whether the engine may open enough files, pin memory and start its threads."""
    check, service, unit = "limits", settings.name, settings.unit
    if limits is None:
        return unknown(check, "the kernel's limits cannot be read", service=service)
    if limits.most_files and limits.open_files > NEARLY_FULL * limits.most_files:
        told = f"{limits.open_files} of {limits.most_files} files of the whole host are open"
        return warning(check, told, "Raise fs.file-max, or find who leaks files.", service)
    files = min(n for n in (limits.files, limits.ceiling or None, 2**63) if n is not None)
    if files < FEW_FILES:
        told = f"{unit} may open {files} files; connections and weights need more"
        fix = f"Raise fs.nr_open, or remove LimitNOFILE= from the drop-ins of {unit}."
        return warning(check, told, fix, service)
    several = parallel_of(picture_of(settings)).gpus > 1 or settings.cluster is not None
    if limits.locked_bytes is not None and several:
        told = f"{unit} may lock {limits.locked_bytes // 1024} KiB of memory: NCCL pins buffers"
        fix = f"Remove LimitMEMLOCK= from the drop-ins of {unit} (systemctl edit {unit})."
        return warning(check, told, fix, service)
    if limits.tasks is not None and limits.tasks < FEW_TASKS:
        told = f"{unit} may have {limits.tasks} threads"
        fix = f"Remove TasksMax= from the drop-ins of {unit}."
        return warning(check, told, fix, service)
    source = f"{unit} as loaded" if limits.loaded else "as the unit will say"
    return ok(check, f"files {files}, memory to lock and threads without end, {source}", service)
