# SPDX-License-Identifier: Apache-2.0
"""What an operator asks of one service: vLLM's options under vLLM's names, expectations, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from types import MappingProxyType

from agent.core.record import dataclass
from agent.core.settings.cluster import ClusterSettings, ray_unit_of
from agent.core.settings.engine import EngineSettings
from agent.core.settings.recovery import Recovery
from agent.core.settings.switches import is_switch, with_switches

Tunable = int | float | bool  # the value of a setting that recovery may change

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

    Names that vLLM has keep vLLM's name, meaning and unit.
    """

    name: str
    """NAME of the table, and of the unit NAME.service."""

    model: str
    """A hub id "org/name", or the absolute path of a local model."""

    python: str = "/opt/vllm/bin/python"
    """The Python of the virtual environment that holds vLLM; unused with a container."""

    host: str = "127.0.0.1"
    """The address that vLLM listens on."""

    port: int = 8000
    served_model_name: str | None = None
    """The name that clients ask for instead of `model`."""

    revision: str | None = None
    """The branch, tag or commit of the model on the hub."""

    tokenizer: str | None = None
    """A hub id or an absolute path, where it is not the model's."""

    chat_template: str | None = None
    """The absolute path of a chat template."""

    dtype: str | None = None
    quantization: str | None = None
    """The method, as "fp8"; None takes the checkpoint's own."""

    kv_cache_dtype: str | None = None
    max_model_len: int | None = None
    """Tokens of prompt and answer together."""

    max_num_seqs: int | None = None
    """Requests at once."""

    max_num_batched_tokens: int | None = None
    """Tokens in one step of the engine."""

    gpu_memory_utilization: float | None = None
    """The share, above 0 and at most 1, of a GPU's total memory that vLLM takes."""

    kv_cache_memory_bytes: int | None = None
    """The size of the KV cache of each GPU, instead of `gpu_memory_utilization`."""

    tensor_parallel_size: int | None = None
    """How many GPUs share each layer."""

    pipeline_parallel_size: int | None = None
    """How many GPUs, or groups of them, take the layers in turn."""

    enforce_eager: bool | None = None
    """Whether to do without CUDA graphs."""

    max_cudagraph_capture_size: int | None = None
    """The largest batch that CUDA graphs are captured for (vLLM 0.11.2 and later)."""

    enable_prefix_caching: bool | None = None
    """Whether prompts that begin alike share their KV cache."""

    enable_chunked_prefill: bool | None = None
    """Whether long prompts are taken in pieces."""

    trust_remote_code: bool | None = None
    """Whether Python code of the model's repository may run."""

    data_parallel_size: int | None = None
    """How many replicas of the model serve behind one port."""

    enable_expert_parallel: bool | None = None
    """Whether the GPUs share the experts instead of each expert's layers."""

    api_server_count: int | None = None
    """How many processes take requests."""

    uds: str | None = None
    """A Unix socket below /run on which vLLM listens instead of `host` and `port`."""

    ssl_certfile: str | None = None
    """The certificate with which vLLM speaks TLS (PEM); None for plain HTTP."""

    ssl_keyfile: str | None = None
    """The private key of `ssl_certfile`."""

    ssl_ca_certs: str | None = None
    """The certificates by which vLLM knows clients."""

    ssl_cert_reqs: int | None = None
    """Whether clients show a certificate: 0 none does, 1 those that have one, 2 all must."""

    client_certfile: str | None = None
    """The certificate that the agent's own requests show (PEM)."""

    client_keyfile: str | None = None
    """The private key of `client_certfile`."""

    shutdown_timeout: int = 30
    """Seconds that running requests get to end when the service is stopped."""

    gpus: tuple[str, ...] = ("all",)
    """Indices or UUIDs of the GPUs as `nvidia-smi -L` prints them, or "all" alone."""

    extra_args: tuple[str, ...] = ()
    """Options of vLLM that have no field here, as words of a command line."""

    environment: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """Environment variables of vLLM; everyone on the host can read them."""

    hf_token_file: str | None = None
    """A file of mode 0600 that holds the hub's token; systemd hands it over."""

    api_key_file: str | None = None
    """A file of mode 0600 with the keys that vLLM asks clients for, one a line."""

    writable_directories: tuple[str, ...] = ()
    """What the sandbox lets vLLM write to besides its own directories."""

    outgoing_addresses: tuple[str, ...] = ()
    """Networks that a service may reach which is otherwise cut off from the network."""

    start_method: str | None = None
    """How vLLM starts its processes, "fork" or "spawn"; None is vLLM's own choice, spawn."""

    prefetch: bool = True
    """Whether llmagent fetches a model of the hub before it starts vLLM."""

    profile: str | None = None
    """The known deployment whose values stand where the table has none of its own."""

    user: str = "vllm"
    """The user that vLLM runs as; unused with a container."""

    sandbox: Sandbox = Sandbox.STRICT
    """How hard the rendered unit is confined."""

    engine: EngineSettings = field(default_factory=EngineSettings)
    """Where the service's vLLM comes from: `python`, or an image."""

    cluster: ClusterSettings | None = None
    """This host's place among several that serve together; None where it serves alone."""

    @property
    def unit(self) -> str:
        """The name of the systemd unit, `NAME.service`."""
        return f"{self.name}.service"

    @property
    def units(self) -> frozenset[str]:
        """Its unit, and that of Ray beside it, whose children vLLM's workers are then."""
        starts_ray = self.cluster is not None and self.cluster.starts_ray
        return frozenset((self.unit, *((ray_unit_of(self.name),) if starts_ray else ())))

    @property
    def parallel_size(self) -> int:
        """How many GPUs the service takes: tensor times pipeline times data parallelism."""
        replica = (self.tensor_parallel_size or 1) * (self.pipeline_parallel_size or 1)
        return replica * (self.data_parallel_size or 1)

    @property
    def headless(self) -> bool:
        """Whether vLLM takes no requests here: it computes for the head of a group of hosts."""
        return self.cluster is not None and self.cluster.headless

    @property
    def asked_elsewhere(self) -> str:
        """Why requests go to another host, "" where they are taken here."""
        if self.cluster is None or not self.cluster.headless:
            return ""
        head = self.cluster.meeting_address
        return f"{self.name} takes no requests on this host: ask on the head of its group, {head}"

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
    """[service.NAME.expect]: what must be proven; None: the item follows from the settings."""

    on_mismatch: OnMismatch = OnMismatch.ALERT
    """Whether a contradiction is only reported, or the service is stopped and held."""

    quantization: str | None = None
    """The method that must be in use."""

    linear_kernel: str | None = None
    """A part of the kernel's class name, in any case ("marlin" matches MarlinLinearKernel); "any"
    asks for none."""

    kv_cache_dtype: str | None = None
    """The type that the KV cache must have."""

    max_model_len: int | None = None
    """The length that must be in force, whatever recovery has learned."""

    max_num_seqs: int | None = None
    """The number of sequences that must be in force, whatever recovery has learned."""

    enable_prefix_caching: bool | None = None
    """Whether the prefix cache must be on."""

    enable_chunked_prefill: bool | None = None
    """Whether chunked prefill must be on."""


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """All that decides about one service: what was asked, what must be proven, how far to go."""

    settings: Settings
    expect: Expectations = field(default_factory=Expectations)
    recovery: Recovery = field(default_factory=Recovery)


def value_text(value: object) -> str:
    """Return the value of an option of vLLM as people read it; None is vLLM's default."""
    match value:
        case None:
            return "default"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
