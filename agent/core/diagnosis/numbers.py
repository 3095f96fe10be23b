# SPDX-License-Identifier: Apache-2.0
"""The numbers that vLLM, torch or the kernel print beside a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from agent.core.record import dataclass

_UNITS = {
    "KiB": 1 / 1024**2,
    "MiB": 1 / 1024,
    "GiB": 1.0,
    "MB": 1e6 / 1024**3,
    "bytes": 1 / 1024**3,
}

_MORE_THAN_ANY_GIB = 1e6
"""vLLM before 0.7 prints bytes where later ones print GiB, both without a unit."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was printed; memory in GiB, lengths in tokens, None where the log says nothing."""

    free_gib: float | None = None
    """What the device had left of `total_gib`."""

    total_gib: float | None = None
    utilization: float | None = None
    wanted_gib: float | None = None
    """The total times `utilization`."""

    needed_kv_gib: float | None = None
    available_kv_gib: float | None = None
    estimated_max_model_len: int | None = None
    max_model_len: int | None = None
    derived_max_model_len: int | None = None
    """What the model's config allows."""

    kv_tokens: int | None = None
    """What the KV cache can hold."""

    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    mamba_blocks: int | None = None
    block_size: int | None = None
    tried_gib: float | None = None
    """The allocation that failed."""

    reserved_gib: float | None = None
    neighbour_gib: float | None = None
    """What another process holds."""

    neighbour_pid: int | None = None
    """That process."""

    own_gib: float | None = None
    """What this process holds."""

    allocated_gib: float | None = None
    """What PyTorch has of `own_gib`."""

    private_gib: float | None = None
    """What of `allocated_gib` is for CUDA graphs."""

    cuda_graph_estimate_gib: float | None = None
    equivalent_utilization: float | None = None
    """What leaves the same KV cache where CUDA graphs are counted."""

    warmup_requests: int | None = None
    initial_free_gib: float | None = None
    gpu: int | None = None
    gpus: int | None = None
    attention_heads: int | None = None
    tensor_parallel_size: int | None = None
    minimum_capability: int | None = None
    capability: int | None = None
    required_mib: float | None = None
    free_mib: float | None = None
    driver_cuda: int | None = None
    port: int | None = None
    pid: int | None = None
    rss_kib: int | None = None
    xid: int | None = None
    recovery_action: int | None = None
    """The second hexadecimal number of an Xid 154."""

    exit_status: int | None = None

    def printed(self) -> dict[str, float | int]:
        """Return the numbers that are there, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


_INTEGERS = frozenset(f.name for f in fields(Numbers) if str(f.type).startswith("int"))
_NAMES = frozenset(f.name for f in fields(Numbers))


def is_number(name: str) -> bool:
    """Tell whether a capture of this name belongs to Numbers."""
    return name.removesuffix("_unit") in _NAMES


def read_numbers(captures: Mapping[str, str | None]) -> dict[str, float | int]:
    """Turn named captures into values of Numbers; `NAME_unit` (MiB, GiB, ...) scales NAME to GiB.

    Captures that are absent or no number are left out.
    """
    values: dict[str, float | int] = {}
    for name, text in captures.items():
        if text is None or name not in _NAMES:
            continue
        value = to_float(text)
        if value is None:
            continue
        value *= _UNITS.get(captures.get(f"{name}_unit") or "", 1.0)
        if name.endswith("_gib") and value > _MORE_THAN_ANY_GIB:
            value /= 1024**3
        values[name] = int(value) if name in _INTEGERS else round(value, 4)
    return values


def to_float(text: str) -> float | None:
    """Read "131,072", "-1.5", "2048.0." or "0x1f"; None when it is no finite number."""
    cleaned = text.replace(",", "").rstrip(".")
    try:
        value = float(int(cleaned, 16)) if cleaned.startswith("0x") else float(cleaned)
    except (ValueError, OverflowError):
        return None
    return value if abs(value) < 1e18 else None
