# SPDX-License-Identifier: Apache-2.0
"""[service.NAME] and its tables -> ServicePolicy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from agent.config.engine_table import read_engine
from agent.config.engine_values import environment, gpus, model, token_file, user
from agent.config.extra_args import extra_args
from agent.config.openings import outgoing_addresses, socket_path, writable_directories
from agent.config.profiles import with_profile
from agent.config.values import (
    Keys,
    Mistake,
    absolute_path,
    as_toml,
    boolean,
    host,
    integer,
    number,
    one_of,
    plain_path,
    read_table,
    share,
    text,
    token,
    window,
)
from agent.core.command.start_method import METHODS
from agent.core.engine.credentials import ALL_MUST
from agent.core.measures import DAY_SECONDS
from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Expectations, OnMismatch, Sandbox, ServicePolicy, Settings

SETTINGS: Keys = {
    "model": model,
    "python": plain_path,
    "host": host,
    "port": integer(1, 65535),
    "served_model_name": text,
    "revision": token,
    "tokenizer": model,
    "chat_template": absolute_path,
    "dtype": one_of("auto", "half", "float16", "bfloat16", "float", "float32"),
    "quantization": token,
    "kv_cache_dtype": token,
    "max_model_len": integer(1),
    "max_num_seqs": integer(1),
    "max_num_batched_tokens": integer(1),
    "gpu_memory_utilization": share,
    "kv_cache_memory_bytes": integer(1),
    "tensor_parallel_size": integer(1, 1024),
    "pipeline_parallel_size": integer(1, 1024),
    "data_parallel_size": integer(1, 1024),
    "enable_expert_parallel": boolean,
    "api_server_count": integer(1, 64),
    "enforce_eager": boolean,
    "max_cudagraph_capture_size": integer(1),
    "enable_prefix_caching": boolean,
    "enable_chunked_prefill": boolean,
    "trust_remote_code": boolean,
    "uds": socket_path,
    "ssl_certfile": plain_path,
    "ssl_keyfile": plain_path,
    "ssl_ca_certs": plain_path,
    "ssl_cert_reqs": integer(0, ALL_MUST),
    "client_certfile": plain_path,
    "client_keyfile": plain_path,
    "shutdown_timeout": integer(0, 3600),
    "gpus": gpus,
    "extra_args": extra_args,
    "environment": environment,
    "hf_token_file": token_file,
    "api_key_file": token_file,
    "writable_directories": writable_directories,
    "outgoing_addresses": outgoing_addresses,
    "start_method": one_of(*METHODS),
    "prefetch": boolean,
    "profile": token,
    "user": user,
    "sandbox": one_of(*Sandbox),
}

EXPECT: Keys = {
    "on_mismatch": one_of(*OnMismatch),
    "quantization": token,
    "linear_kernel": token,
    "kv_cache_dtype": token,
    "max_model_len": integer(1),
    "max_num_seqs": integer(1),
    "enable_prefix_caching": boolean,
    "enable_chunked_prefill": boolean,
}

RECOVERY: Keys = {
    "min_gpu_memory_utilization": share,
    "max_gpu_memory_utilization": share,
    "gpu_memory_utilization_step": number(0.001, 0.5),
    "min_max_model_len": integer(1),
    "min_max_num_seqs": integer(1),
    "min_max_num_batched_tokens": integer(1),
    "min_kv_cache_memory_bytes": integer(1),
    "max_kv_cache_memory_bytes": integer(1),
    "backoff_min_seconds": number(0.1, DAY_SECONDS),
    "backoff_max_seconds": number(0.1, DAY_SECONDS),
    "max_starts_per_hour": integer(1, 3600),
    "settle_seconds": number(1, DAY_SECONDS),
    "start_stall_seconds": number(1, DAY_SECONDS),
    "download_stall_seconds": number(1, DAY_SECONDS),
    "load_stall_seconds": number(1, DAY_SECONDS),
    "compile_stall_seconds": number(1, DAY_SECONDS),
    "capture_stall_seconds": number(1, DAY_SECONDS),
    "stop_seconds": number(1, DAY_SECONDS),
    "poll_seconds": number(0.1, 3600),
    "hang_seconds": number(1, DAY_SECONDS),
    "canary_seconds": number(1, DAY_SECONDS),
    "canary_every_seconds": number(1, DAY_SECONDS),
    "allow_enforce_eager": boolean,
    "allow_switches": boolean,
    "roll_back": boolean,
    "try_anyway": boolean,
    "reuse_profile": boolean,
    "read_ahead": boolean,
    "probe_window": window,
}

RECOVERY_DEFAULTS: Mapping[str, Any] = asdict(Recovery())

FLOORS = {
    "min_gpu_memory_utilization": "gpu_memory_utilization",
    "min_max_model_len": "max_model_len",
    "min_max_num_seqs": "max_num_seqs",
    "min_max_num_batched_tokens": "max_num_batched_tokens",
    "min_kv_cache_memory_bytes": "kv_cache_memory_bytes",
}
"""Each floor of recovery, and the setting that must not be asked below it."""

CEILINGS = {
    "max_gpu_memory_utilization": "gpu_memory_utilization",
    "max_kv_cache_memory_bytes": "kv_cache_memory_bytes",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_TAKEN = re.compile(
    r"(?:llmagent|systemd|dbus|ssh|sshd|cron|crond|getty|user|rescue|emergency|docker|containerd"
    r"|networking|network|NetworkManager|nvidia|prometheus|node_exporter|nginx|rsyslog|polkit|udev)"
    r"(?:-.*)?",
    re.IGNORECASE,
)
_NO_KEY = '; options of vLLM that have no key here go to extra_args, as ["--seed", "1"]'


def read_services(raw: object, mistakes: list[Mistake]) -> Mapping[str, ServicePolicy]:
    """Read all [service.NAME] tables; one that holds a mistake is noted and left out."""
    if not isinstance(raw, dict):
        mistakes.append(Mistake(("service",), "write [service.NAME], as [service.vllm]"))
        return {}
    services: dict[str, ServicePolicy] = {}
    for name, table in raw.items():
        path = ("service", name)
        if not isinstance(table, dict):
            mistakes.append(Mistake(path, f"{as_toml(table)} is not a table; write [service.NAME]"))
            continue
        before = len(mistakes)
        _check_name(name, path, mistakes)
        policy = _read_service(name, table, path, mistakes)
        if policy is not None and len(mistakes) == before:
            services[name] = policy
    return MappingProxyType(services)


def is_free_name(name: str) -> bool:
    """Tell whether a service may be called so."""
    mistakes: list[Mistake] = []
    _check_name(name, ("service", name), mistakes)
    return not mistakes


def _check_name(name: str, path: tuple[str, ...], mistakes: list[Mistake]) -> None:
    if not _NAME.fullmatch(name):
        text = "becomes the name of a unit: only letters, digits, - and _, at most 63"
        mistakes.append(Mistake(path, text))
    elif _TAKEN.fullmatch(name):
        mistakes.append(Mistake(path, f"{name}.service belongs to the system; choose another name"))
    elif name.endswith("-fetch"):
        text = "names that end in -fetch are those of the units that fetch models; choose another"
        mistakes.append(Mistake(path, text))


def _read_service(
    name: str, table: dict[str, Any], path: tuple[str, ...], mistakes: list[Mistake]
) -> ServicePolicy | None:
    before = len(mistakes)
    table = with_profile(table, path, mistakes)
    elsewhere = dict.fromkeys(EXPECT.keys() - SETTINGS.keys(), (*path, "expect"))
    elsewhere |= dict.fromkeys(RECOVERY, (*path, "recovery"))
    own = read_table(
        table,
        path,
        SETTINGS,
        mistakes,
        tables=("cluster", "engine", "expect", "recovery"),
        elsewhere=elsewhere,
        otherwise=_NO_KEY,
    )
    if "model" not in table:
        text = 'missing; give a hub id "org/name" or the absolute path of a model'
        mistakes.append(Mistake((*path, "model"), text))
    expect = read_table(table.get("expect", {}), (*path, "expect"), EXPECT, mistakes)
    recovery = read_table(table.get("recovery", {}), (*path, "recovery"), RECOVERY, mistakes)
    _check_limits(own, recovery, path, mistakes)
    engine = read_engine(table, path, mistakes)
    cluster = _read_cluster(table, path, mistakes)
    if len(mistakes) > before:
        return None
    if "sandbox" in own:
        own["sandbox"] = Sandbox(own["sandbox"])
    if "on_mismatch" in expect:
        expect["on_mismatch"] = OnMismatch(expect["on_mismatch"])
    return ServicePolicy(
        settings=Settings(name=name, engine=engine, cluster=cluster, **own),
        expect=Expectations(**expect),
        recovery=Recovery(**_limits_around(own, recovery)),
    )


def _read_cluster(
    table: dict[str, Any], path: tuple[str, ...], mistakes: list[Mistake]
) -> ClusterSettings | None:
    if "cluster" not in table:
        return None
    from agent.config.cluster_table import read_cluster  # for who serves with others: memory

    return read_cluster(table, path, mistakes)


def _limits_around(own: dict[str, Any], recovery: dict[str, Any]) -> dict[str, Any]:
    """Widen the default limits, not those given, so that the setting asked lies within them."""
    limits = {**RECOVERY_DEFAULTS, **recovery}
    for floor, setting in FLOORS.items():
        limits[floor] = min(limits[floor], own.get(setting, limits[floor]))
    for ceiling, setting in CEILINGS.items():
        limits[ceiling] = max(limits[ceiling], own.get(setting, limits[ceiling]))
    return limits


def _check_limits(
    own: dict[str, Any], recovery: dict[str, Any], path: tuple[str, ...], mistakes: list[Mistake]
) -> None:
    below = (*path, "recovery")
    for floor, setting in FLOORS.items():
        if floor in recovery and setting in own and recovery[floor] > own[setting]:
            text = f"{recovery[floor]} is above the {setting} asked, {own[setting]}"
            mistakes.append(Mistake((*below, floor), text))
    for ceiling, setting in CEILINGS.items():
        if ceiling in recovery and setting in own and recovery[ceiling] < own[setting]:
            text = f"{recovery[ceiling]} is below the {setting} asked, {own[setting]}"
            mistakes.append(Mistake((*below, ceiling), text))
    given = {**RECOVERY_DEFAULTS, **recovery}
    for low, high in (
        ("min_gpu_memory_utilization", "max_gpu_memory_utilization"),
        ("min_kv_cache_memory_bytes", "max_kv_cache_memory_bytes"),
        ("backoff_min_seconds", "backoff_max_seconds"),
    ):
        if given[low] > given[high]:
            text = f"{given[low]} is above {high}, {given[high]}"
            mistakes.append(Mistake((*below, low if low in recovery else high), text))
