# SPDX-License-Identifier: Apache-2.0
"""What an operator asks of one service: vLLM's options under vLLM's names, expectations, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from agent.core.settings.engine import EngineSettings
from agent.core.settings.switches import is_switch, with_switches

Tunable = int | float | bool
"""The value of a setting that recovery may change."""

EMPTY: Mapping[str, str] = MappingProxyType({})


class OnMismatch(StrEnum):
    """What to do when verification contradicts what was asked."""

    ALERT = "alert"
    STOP = "stop"


class Sandbox(StrEnum):
    """How hard the rendered unit is confined; a way out for hosts where a directive hides a GPU."""

    STRICT = "strict"
    BASIC = "basic"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Settings:
    """One [service.NAME] table with defaults filled in; None means "vLLM decides".

    Names that vLLM has keep vLLM's name and unit (`gpu_memory_utilization` is a share 0..1 of the
    device's total memory, `max_model_len` counts tokens, `shutdown_timeout` seconds).
    `api_key_file` holds a key a line; `writable_directories` and `outgoing_addresses` are what the
    sandbox leaves open besides.
    """

    name: str
    model: str
    python: str = "/opt/vllm/bin/python"
    host: str = "127.0.0.1"
    port: int = 8000
    served_model_name: str | None = None
    revision: str | None = None
    tokenizer: str | None = None
    chat_template: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: float | None = None
    kv_cache_memory_bytes: int | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    enforce_eager: bool | None = None
    max_cudagraph_capture_size: int | None = None
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    trust_remote_code: bool | None = None
    data_parallel_size: int | None = None
    enable_expert_parallel: bool | None = None
    api_server_count: int | None = None
    uds: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_ca_certs: str | None = None
    shutdown_timeout: int = 30
    gpus: tuple[str, ...] = ("all",)
    extra_args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    hf_token_file: str | None = None
    api_key_file: str | None = None
    writable_directories: tuple[str, ...] = ()
    outgoing_addresses: tuple[str, ...] = ()
    prefetch: bool = True
    profile: str | None = None
    user: str = "vllm"
    sandbox: Sandbox = Sandbox.STRICT
    engine: EngineSettings = field(default_factory=EngineSettings)

    @property
    def unit(self) -> str:
        """The name of the systemd unit, `NAME.service`."""
        return f"{self.name}.service"

    @property
    def parallel_size(self) -> int:
        """How many GPUs the service takes: tensor times pipeline times data parallelism."""
        replica = (self.tensor_parallel_size or 1) * (self.pipeline_parallel_size or 1)
        return replica * (self.data_parallel_size or 1)

    @property
    def speaks_tls(self) -> bool:
        """Whether clients reach the service by HTTPS."""
        return self.ssl_certfile is not None

    def shares_gpu_with(self, other: Settings) -> bool:
        """Tell whether both may touch one GPU, so that their starts must not overlap."""
        if "all" in self.gpus or "all" in other.gpus:
            return True
        return not set(self.gpus).isdisjoint(other.gpus)

    def with_overrides(self, overrides: Mapping[str, Tunable]) -> Settings:
        """Return the settings with learned values and switches put over the configured ones."""
        if not overrides:
            return self
        switches = [name for name in overrides if is_switch(name)]
        values = {name: value for name, value in overrides.items() if name not in switches}
        settings = replace(self, **values)  # type: ignore[arg-type]
        if not switches:
            return settings
        variables, words = with_switches(switches, self.environment, self.extra_args)
        return replace(settings, environment=variables, extra_args=words)


TUNABLES = (
    "gpu_memory_utilization",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "kv_cache_memory_bytes",
    "max_cudagraph_capture_size",
    "enforce_eager",
)
"""The settings that recovery may change; all others are the operator's alone."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """[service.NAME.expect]: what must be proven; None leaves the item to follow from the settings.

    `linear_kernel` is a case-insensitive part of the kernel's class name ("marlin" matches
    MarlinLinearKernel); "any" asks for nothing.
    """

    on_mismatch: OnMismatch = OnMismatch.ALERT
    quantization: str | None = None
    linear_kernel: str | None = None
    kv_cache_dtype: str | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None


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
    """[service.NAME.recovery]: how far recovery may go, and how long it waits. Times in seconds.

    `try_anyway` starts what the plan says cannot fit. `probe_window` is when a learned setting may
    be tried nearer to what was asked; None: never.
    """

    min_gpu_memory_utilization: float = 0.5
    max_gpu_memory_utilization: float = 0.97
    gpu_memory_utilization_step: float = 0.02
    min_max_model_len: int = 2048
    min_max_num_seqs: int = 8
    min_max_num_batched_tokens: int = 2048
    min_kv_cache_memory_bytes: int = 268435456
    max_kv_cache_memory_bytes: int = 1099511627776
    backoff_min_seconds: float = 5.0
    backoff_max_seconds: float = 300.0
    max_starts_per_hour: int = 12
    settle_seconds: float = 600.0
    start_stall_seconds: float = 900.0
    download_stall_seconds: float = 1800.0
    load_stall_seconds: float = 1800.0
    compile_stall_seconds: float = 1800.0
    capture_stall_seconds: float = 900.0
    stop_seconds: float = 60.0
    poll_seconds: float = 5.0
    hang_seconds: float = 120.0
    canary_seconds: float = 60.0
    canary_every_seconds: float = 300.0
    allow_enforce_eager: bool = True
    allow_switches: bool = False
    roll_back: bool = True
    try_anyway: bool = False
    probe_window: Window | None = None


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """All that decides about one service: what was asked, what must be proven, how far to go."""

    settings: Settings
    expect: Expectations = field(default_factory=Expectations)
    recovery: Recovery = field(default_factory=Recovery)
