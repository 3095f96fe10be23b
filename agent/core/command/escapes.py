# SPDX-License-Identifier: Apache-2.0
"""Options that would take a service out of the agent's hands, with the reason and what to use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from agent.core.command.given import Given
from agent.core.engine.command_line import FLAGS

ESCAPES: Mapping[str, str] = MappingProxyType(
    {
        "api_key": ("everyone on the host would see the key in ps; use api_key_file"),
        "data_parallel_multi_port_external_lb": (
            "each rank would listen on a port of its own, and llmagent watches one; leave it out"
        ),
        "device_ids": "llmagent gives vLLM its GPUs; use gpus",
        "grpc": "vLLM would answer no HTTP, by which llmagent sees whether it serves; leave it out",
        "headless": (
            "vLLM would open no port, so that nobody can tell whether it serves; leave it out, or "
            "write [service.NAME.cluster] where several hosts serve together"
        ),
        "hf_token": "everyone on the host would see the token in ps; use hf_token_file",
        "root_path": (
            "llmagent reaches vLLM's paths as they are; rewrite them in a proxy before it"
        ),
        "ssl_ca_certs": "llmagent must know how vLLM is reached; use ssl_ca_certs in agent.toml",
        "ssl_cert_reqs": "llmagent must know how vLLM is reached; use ssl_cert_reqs in agent.toml",
        "ssl_certfile": "llmagent must know how vLLM is reached; use ssl_certfile in agent.toml",
        "ssl_keyfile": "llmagent must know how vLLM is reached; use ssl_keyfile in agent.toml",
        "uds": "llmagent must know how vLLM is reached; use uds in agent.toml",
    }
)
"""vLLM's names of such options, and why each is refused."""


def refusals(options: Iterable[Given]) -> tuple[str, ...]:
    """Return a sentence for each option that escapes, or that has a key of its own."""
    found = (_refusal(given) for given in options)
    return tuple(dict.fromkeys(sentence for sentence in found if sentence))


def escapes(options: Iterable[Given]) -> tuple[str, ...]:
    """Return the same without those that have a key: what a config file must not hold."""
    return tuple(
        dict.fromkeys(
            f"{given.spelled}: {ESCAPES[given.name]}"
            for given in options
            if given.name in ESCAPES and given.value is not False
        )
    )


def _refusal(given: Given) -> str | None:
    if given.name in FLAGS:
        return f"{given.spelled} has a key of its own here: {given.name}"
    return next(iter(escapes((given,))), None)
