# SPDX-License-Identifier: Apache-2.0
"""The memory arithmetic of vLLM 0.32's start, against the scenario's device.

The sum is that of its memory profile: available KV = total x utilization - weights - what is not
torch's - activation peak - estimate for CUDA graphs.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from engine.scenario import Scenario

GIB = 2**30
FP8 = ("fp8", "fp8_e4m3", "fp8_e5m2")


@dataclass(frozen=True, slots=True)
class Memory:
    """Every number of one start; GiB unless it says bytes or tokens."""

    requested: float
    weights: float
    activation: float
    graph_estimate: float
    available_kv: float
    needed_kv: float
    bytes_per_token: int
    kv_tokens: int
    max_model_len: int
    left: float
    """What is free once weights and KV cache are there."""

    @property
    def estimated_max_model_len(self) -> int:
        """The longest request that fits, as vLLM estimates it."""
        return max(0, int(self.available_kv * GIB / self.bytes_per_token) // 16 * 16)


def account(arguments: argparse.Namespace, scenario: Scenario, default_length: int) -> Memory:
    """Computes what this start needs and gets."""
    cuda = scenario.device == "cuda"
    requested = scenario.total_gib * arguments.gpu_memory_utilization
    activation = scenario.activation_gib * arguments.max_num_batched_tokens / 2048
    graphs = 0.0 if arguments.enforce_eager or not cuda else scenario.graph_estimate_gib
    taken = scenario.weights_gib + scenario.non_torch_gib + activation
    available = requested - taken - graphs
    if arguments.kv_cache_memory_bytes is not None:
        available = arguments.kv_cache_memory_bytes / GIB
    half = arguments.kv_cache_dtype in FP8
    per_token = scenario.kv_bytes_per_token // (2 if half else 1)
    length = arguments.max_model_len or default_length
    return Memory(
        requested=requested,
        weights=scenario.weights_gib,
        activation=activation,
        graph_estimate=graphs,
        available_kv=available,
        needed_kv=length * per_token / GIB,
        bytes_per_token=per_token,
        kv_tokens=max(0, int(available * GIB / per_token) // 16 * 16),
        max_model_len=length,
        left=scenario.free_gib - scenario.weights_gib - scenario.non_torch_gib - available,
    )


def gib(value: float) -> str:
    """Returns GiB as vLLM prints them."""
    return str(round(value, 2))
