# SPDX-License-Identifier: Apache-2.0
"""What vLLM does unasked, by its release and the device it runs on.

Read in engine/arg_utils.py (get_batch_defaults) and config/cache.py of 0.8.5, 0.11, 0.13, 0.16,
0.19.1, 0.20.0..0.20.2, 0.23, 0.24, 0.26, 0.27.1, 0.28, 0.32 and 0.33, for its API server.
"""

from __future__ import annotations

import re

from agent.core.engine.install import release_of
from agent.core.record import dataclass

Release = tuple[int, ...]

NEWEST: Release = (0, 33)
"""What an unknown release counts as."""

_NIGHTLY = re.compile(r"rc\d{1,4}\.dev(\d{1,9})")
MANY_COMMITS = 100
"""A build of the main branch so many commits after a release does what the next one does: vLLM
0.19.2rc1.dev206 keeps CUDA graphs inside the share as 0.20.0 does, 0.19.2rc1.dev8 does not."""

RAISED_UTILIZATION: Release = (0, 20)
"""From here gpu_memory_utilization is 0.92; before, 0.9."""

BY_MEMORY: Release = (0, 8, 5)
"""From here large cards are known by their memory; 0.7 and 0.8 knew the H100 and H200 by name."""

SPARES_A100: Release = (0, 9)
"""From here an A100 is given what a small card is (vllm#17885)."""

HUGE_CARDS: Release = (0, 28)
"""From here cards of 160 GiB are given twice the batch of large ones."""

NO_MORE_THAN_ALL: Release = (0, 13)
"""From here a batch holds no more than all sequences at their full length."""

V1: Release = (0, 8)
"""From here the V1 engine is the usual one."""

FORCED_SLOW_KERNEL: dict[str, Release] = {"awq": (0, 24), "gptq": (0, 22)}
"""Methods that, asked for by name, switched Marlin off before this release."""

UNIFIED = ("gb10", "thor", "orin", "tegra", "dgx spark")
"""Words in the names of devices whose memory is the host's."""

LARGE_GIB = 70.0
HUGE_GIB = 160.0
SMALL_BATCH, LARGE_BATCH, HUGE_BATCH = 2048, 8192, 16384
FEW_SEQS, MANY_SEQS = 256, 1024
V0_WHOLE_PROMPT = 32768
"""Prompts above this are prefilled in chunks by the V0 engine; shorter ones at once."""


@dataclass(frozen=True, slots=True)
class Device:
    """What the defaults depend on: the memory of one device in GiB (0 when unknown) and its name.

    `unified`: its memory is the host's (GB10, Thor, Orin). NVML tells no size of such memory, so
    that vLLM takes what it takes for a small card; 0.33 does so for GB10 by its capability.
    """

    memory_gib: float = 0.0
    name: str = ""
    unified: bool = False

    @property
    def shares_host_memory(self) -> bool:
        """Whether its memory is the host's, as told or by its name."""
        return self.unified or any(word in self.name.lower() for word in UNIFIED)


@dataclass(frozen=True, slots=True)
class Batch:
    """How much one step computes: `tokens` and `sequences` at most."""

    tokens: int
    sequences: int


def release_or_newest(version: str | None) -> Release:
    """Return the numbers of a version, those of the newest release where it says none.

    A build on the way to a patch release is older than it: "0.20.1rc1.dev16" lies before 0.20.1.
    One of the main branch long after a release is the next minor one's: "0.19.2rc1.dev206" is 0.20.
    """
    text = version or ""
    release = release_of(text)
    nightly = _NIGHTLY.search(text)
    if len(release) > 2 and release[2] > 0 and nightly and int(nightly[1]) >= MANY_COMMITS:
        return min(NEWEST, (release[0], release[1] + 1))
    if len(release) > 2 and release[2] > 0 and ("rc" in text or "dev" in text):
        return (*release[:2], release[2] - 1, 1)
    return release or NEWEST


def default_utilization(version: str | None) -> float:
    """Return the gpu_memory_utilization that vLLM takes unasked."""
    return utilization_of(release_or_newest(version))


def utilization_of(release: Release) -> float:
    """Return the same for a release."""
    return 0.92 if release >= RAISED_UTILIZATION else 0.9


def default_seqs(release: Release, device: Device) -> int:
    """Return the max_num_seqs that vLLM takes unasked."""
    return MANY_SEQS if release >= BY_MEMORY and _is_large(release, device) else FEW_SEQS


def default_batch(release: Release, device: Device, max_model_len: int | None = None) -> int:
    """Return the max_num_batched_tokens that vLLM takes unasked for requests of `max_model_len`.

    V0, the engine before 0.8, prefills a whole prompt at once.
    """
    if release < V1:
        length = max_model_len or SMALL_BATCH
        return SMALL_BATCH if length > V0_WHOLE_PROMPT else max(length, SMALL_BATCH)
    if release >= HUGE_CARDS and device.memory_gib >= HUGE_GIB and not device.shares_host_memory:
        return HUGE_BATCH
    return LARGE_BATCH if _is_large(release, device) else SMALL_BATCH


def batch_of(
    release: Release,
    device: Device,
    max_model_len: int,
    max_num_batched_tokens: int | None,
    max_num_seqs: int | None,
) -> Batch:
    """Return the limits of a step: those that are asked for, the others as vLLM takes them.

    Sequences that are asked for may be more than the tokens: vLLM refuses to start so.
    """
    sequences = max_num_seqs or default_seqs(release, device)
    tokens = max_num_batched_tokens
    if not tokens:
        tokens = default_batch(release, device, max_model_len)
        if release >= NO_MORE_THAN_ALL:
            tokens = min(tokens, sequences * max_model_len)
    return Batch(tokens, sequences if max_num_seqs else min(sequences, tokens))


def forces_slow_kernel(quantization: str, version: str | None) -> bool:
    """Tell whether naming this method keeps vLLM from its fast kernel; False when unknown."""
    until = FORCED_SLOW_KERNEL.get(quantization)
    release = release_of(version or "")
    return until is not None and bool(release) and release < until


def _is_large(release: Release, device: Device) -> bool:
    if device.shares_host_memory or release < V1:
        return False
    name = device.name.lower()
    if release < BY_MEMORY:
        return "h100" in name or "h200" in name
    return device.memory_gib >= LARGE_GIB and not (release >= SPARES_A100 and "a100" in name)
