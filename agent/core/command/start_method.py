# SPDX-License-Identifier: Apache-2.0
"""How vLLM starts its engine's process and its workers: spawned, as it does itself, or forked.

A spawned process imports vLLM anew: 6 and 7 s of each start, one after the other (vLLM 0.32 on 2
cores); a forked one does not. `vllm serve` sets spawn only where VLLM_WORKER_MULTIPROC_METHOD is
not set (vllm/entrypoints/serve/utils/api_utils.py, 0.32).
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.command.picture import picture_of
from agent.core.settings.service import Settings

VARIABLE = "VLLM_WORKER_MULTIPROC_METHOD"
FORK = "fork"
SPAWN = "spawn"
METHODS = (FORK, SPAWN)


def start_method_environment(settings: Settings) -> dict[str, str]:
    """Return the variable that asks for the method, nothing where vLLM is to decide."""
    return {} if settings.start_method is None else {VARIABLE: settings.start_method}


def why_not_forked(settings: Settings, *, on_cpu: bool, in_wsl: bool) -> Iterator[str]:
    """Give the reasons for which vLLM spawns its processes though it is told to fork them.

    vllm/utils/system_utils.py, platforms/cpu.py and config/vllm.py of 0.32.
    """
    if on_cpu:
        yield "vLLM's CPU build always spawns"
    if in_wsl:
        yield "vLLM always spawns on WSL, where NVML does not go with fork"
    picture = picture_of(settings)
    if picture.switch("numa_bind"):
        yield "--numa-bind needs spawn"
    if picture.text("data_parallel_backend") == "ray":
        yield "what runs in Ray is spawned"
    if picture.text("mm_tensor_ipc") == "torch_shm":
        yield "mm_tensor_ipc = torch_shm fails without spawn"
