# SPDX-License-Identifier: Apache-2.0
"""How many GPUs of this host a command line of vLLM takes."""

from __future__ import annotations

from agent.core.command.picture import Picture
from agent.core.numerals import whole_number
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Parallel:
    """The split of a service; `data_local` are the replicas that run on this host.

    One replica takes tensor x pipeline x prefill-context GPUs (vLLM 0.9..0.33, config/parallel.py);
    decode context parallelism shares the tensor-parallel GPUs.
    """

    tensor: int = 1
    pipeline: int = 1
    prefill_context: int = 1
    decode_context: int = 1
    data: int = 1
    data_local: int = 1
    nodes: int = 1
    experts: bool = False

    @property
    def replica(self) -> int:
        """GPUs of one replica, on all hosts."""
        return self.tensor * self.pipeline * self.prefill_context

    @property
    def gpus(self) -> int:
        """GPUs that the service takes of this host."""
        return -(-self.replica // self.nodes) * self.data_local


def parallel_of(picture: Picture) -> Parallel:
    """Read the split from a command line; VLLM_DP_SIZE is taken where no option says it."""
    data = _positive(picture, "data_parallel_size")
    if data is None:
        data = whole_number(picture.environment.get("VLLM_DP_SIZE", "")) or None
    local = picture.whole("data_parallel_size_local")
    if local is None:
        # One rank a process: its own process is all of it that runs here.
        alone = picture.asks("data_parallel_rank") or "VLLM_DP_RANK" in picture.environment
        local = 1 if alone else data or 1
    return Parallel(
        tensor=_positive(picture, "tensor_parallel_size") or 1,
        pipeline=_positive(picture, "pipeline_parallel_size") or 1,
        prefill_context=_positive(picture, "prefill_context_parallel_size") or 1,
        decode_context=_positive(picture, "decode_context_parallel_size") or 1,
        data=data or 1,
        data_local=max(0, local),
        nodes=_positive(picture, "nnodes") or 1,
        experts=bool(picture.switch("enable_expert_parallel")),
    )


def spans_hosts(picture: Picture) -> bool:
    """Tell whether vLLM is asked to come together with processes on other hosts."""
    split = parallel_of(picture)
    elsewhere = split.data > split.data_local and picture.asks("data_parallel_address")
    return split.nodes > 1 or elsewhere


def _positive(picture: Picture, name: str) -> int | None:
    value = picture.whole(name)
    return value if value is not None and value > 0 else None
