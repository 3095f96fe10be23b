# SPDX-License-Identifier: Apache-2.0
"""One look at the GPUs for a command: what NVML says and which driver is there, in limited time."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from agent.core.gpu.reading import Driver, Gpus
from agent.host.nvidia.calls import NvmlError
from agent.host.nvidia.driver_files import DriverFiles, DriverPlaces
from agent.host.nvidia.nvml import Nvml


def look_once(deadline_seconds: float) -> Gpus:
    """Return what is there; why NVML gave nothing stands in `driver.problem`.

    A call that hangs is left behind in a thread of its own, which ends with the command.
    """
    versions = DriverFiles(DriverPlaces()).read()
    files = Driver(
        library_version=versions.library_version,
        module_version=versions.module_version,
        installed_module_version=versions.installed_module_version,
        problem="" if versions.present else "there is no NVIDIA driver on this host",
    )
    if not versions.present:
        return Gpus(0.0, (), files)
    answers: list[Gpus] = []
    thread = threading.Thread(target=_ask, args=(files, versions.library, answers), daemon=True)
    thread.start()
    thread.join(deadline_seconds)
    if answers:
        return answers[0]
    why = f"NVML does not answer within {deadline_seconds:g} s: the driver is stuck or very slow"
    return Gpus(0.0, (), replace(files, problem=why))


def _ask(files: Driver, library: Path | None, answers: list[Gpus]) -> None:
    nvml = Nvml()
    try:
        nvml.open(library)
        seen = nvml.look(medium=True, slow=True, processes=True)
        nvml.close()
    except NvmlError as error:
        answers.append(Gpus(0.0, (), replace(files, problem=str(error))))
    else:
        answers.append(Gpus(0.0, seen.gpus, files, seen.nameless))
