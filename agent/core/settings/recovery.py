# SPDX-License-Identifier: Apache-2.0
"""How far recovery may change what an operator asks of a service, and how long it waits."""

from __future__ import annotations

from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A span of every day in local time, in seconds since midnight; it may pass midnight."""

    begin: int
    end: int

    def holds(self, seconds: float) -> bool:
        """Tell whether this time of the day lies in it."""
        if self.begin <= self.end:
            return self.begin <= seconds < self.end
        return seconds >= self.begin or seconds < self.end

    def __str__(self) -> str:
        """Return it as agent.toml has it."""
        return "-".join(f"{at // 3600:02}:{at % 3600 // 60:02}" for at in (self.begin, self.end))


@dataclass(frozen=True, slots=True)
class Recovery:
    """[service.NAME.recovery]: how far recovery may go, and how long it waits. Times in seconds."""

    min_gpu_memory_utilization: float = 0.5
    """The floor of `gpu_memory_utilization`."""

    max_gpu_memory_utilization: float = 0.97
    """Its ceiling."""

    gpu_memory_utilization_step: float = 0.02
    """How far one step goes where no number was printed to compute with."""

    min_max_model_len: int = 2048
    """The floor of `max_model_len`, in tokens."""

    min_max_num_seqs: int = 8
    """The floor of `max_num_seqs`."""

    min_max_num_batched_tokens: int = 2048
    """The floor of `max_num_batched_tokens`."""

    min_kv_cache_memory_bytes: int = 268435456
    """The floor of `kv_cache_memory_bytes`, where that is set (256 MiB)."""

    max_kv_cache_memory_bytes: int = 1099511627776
    """Its ceiling (1 TiB)."""

    backoff_min_seconds: float = 5.0
    """The wait after the first failure; it doubles with each that follows."""

    backoff_max_seconds: float = 300.0
    """The longest wait."""

    max_starts_per_hour: int = 12
    """How often the service may be started in an hour."""

    settle_seconds: float = 600.0
    """How long the service must serve for its failures to be forgotten."""

    start_stall_seconds: float = 900.0
    """How long a start may go without progress in the log before it is ended."""

    download_stall_seconds: float = 1800.0
    """The same while the model is downloaded."""

    load_stall_seconds: float = 1800.0
    """The same while weights are loaded."""

    compile_stall_seconds: float = 1800.0
    """The same while vLLM profiles, compiles and warms up; twice as long while it uses CPU time."""

    capture_stall_seconds: float = 900.0
    """The same while CUDA graphs are captured."""

    stop_seconds: float = 60.0
    """How long a stop may take, beyond `shutdown_timeout`, before vLLM is killed."""

    poll_seconds: float = 5.0
    """How often vLLM's metrics are read."""

    hang_seconds: float = 120.0
    """How long an engine that has requests may produce no token before it is asked for one."""

    canary_seconds: float = 60.0
    """How long the answer of one token may take."""

    canary_every_seconds: float = 300.0
    """How often an idle engine is asked for one token."""

    allow_enforce_eager: bool = True
    """Whether recovery may do without CUDA graphs, which makes answers slower."""

    allow_switches: bool = False
    """Whether recovery may turn off a kernel that fails by a variable or a flag."""

    roll_back: bool = True
    """Whether the last settings that served run again when changed ones fail for good."""

    try_anyway: bool = False
    """Whether a service is started although its plan says that it cannot fit."""

    reuse_profile: bool = False
    """Whether a start takes the size of the KV cache that an earlier one measured."""

    read_ahead: bool = True
    """Whether what a start reads is read into memory before it, after a boot or as planned."""

    probe_window: Window | None = None
    """When a learned setting may be tried a step nearer to what was asked; None: never."""
