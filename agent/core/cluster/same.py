# SPDX-License-Identifier: Apache-2.0
"""What must be the same on all hosts of a group, or its ranks cannot come together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from agent.core.record import dataclass
from agent.core.settings.gpus import Power
from agent.core.settings.service import Settings, value_text

COMPARED = (
    *("model", "revision", "tokenizer", "dtype", "quantization", "kv_cache_dtype"),
    *("max_model_len", "max_num_seqs", "max_num_batched_tokens"),
    *("gpu_memory_utilization", "kv_cache_memory_bytes"),
    *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
    *("enable_expert_parallel", "enforce_eager", "max_cudagraph_capture_size"),
    *("enable_prefix_caching", "enable_chunked_prefill", "trust_remote_code"),
)
"""Settings of agent.toml; the others are about requests or about the host."""

MEETING = (
    *("nnodes", "master_addr", "master_port", "ray_port"),
    *("data_parallel_address", "data_parallel_rpc_port", "data_parallel_hybrid_lb"),
)
"""Keys of the cluster's table."""

ENGINES = "VLLM_"
OF_THE_HOST = frozenset({"VLLM_HOST_IP", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT"})


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is one thing here and another on another host."""

    name: str
    here: str
    there: str


def differences(mine: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[Difference]:
    """Yield what differs; what is not known on one of the hosts does not."""
    for name, value in mine.items():
        other = theirs.get(name, "")
        if value and other and other != value:
            yield Difference(name, value, other)


def same_of(
    settings: Settings, version: str | None, torch: str | None = None, commit: str = ""
) -> Mapping[str, str]:
    """Return them by name, in words for people; what is left to vLLM is "default".

    `version` and `torch` are what is installed, None where it is not known; `commit` is the model's
    in the hub's cache. Options without a key of their own may hold a secret: of them only a digest
    leaves the host.
    """
    found = {"vLLM": version or "", "torch": torch or "", "commit": commit[:12]}
    for name in COMPARED:
        found[name] = value_text(getattr(settings, name))
    if settings.cluster is not None:
        for name in MEETING:
            found[name] = value_text(getattr(settings.cluster, name))
    found["extra_args"] = _digest(settings.extra_args)
    own = sorted(
        f"{name}={value}"
        for name, value in settings.environment.items()
        if name.startswith(ENGINES) and name not in OF_THE_HOST
    )
    found[f"environment {ENGINES}*"] = _digest(own)
    return found


POWER = "[power]"
"""Compared, but no rank waits for it: the slowest card sets the pace of all."""


def power_of(power: Power) -> Mapping[str, str]:
    """Return the limits that hold every card of the host, in words for people."""
    watts, ratio = power.limit_watts, power.limit_ratio
    limit = "the card's own" if watts is None else f"{watts:g} W"
    return {POWER: limit if ratio is None else f"{ratio:.0%} of the card's own"}


def _digest(words: list[str] | tuple[str, ...]) -> str:
    if not words:
        return "none"
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "replace")).hexdigest()[:8]
    return f"{len(words)} words ({digest})"
