# SPDX-License-Identifier: Apache-2.0
"""Readers of the values that only a vLLM service has: model, GPUs, environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from agent.config.values import (
    SECRET_VALUE,
    Reader,
    WrongValueError,
    absolute_path,
    as_toml,
    plain_path,
    text,
)

_HUB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
_GPU = re.compile(r"[0-9]{1,3}|(?:GPU|MIG)-[0-9A-Fa-f/-]+")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|API_KEY|SECRET|PASSWORD|PASSWD|ACCESS_KEY|SECRET_KEY|CREDENTIALS)$"
)
_NOT_SECRET = frozenset({"HF_HUB_DISABLE_IMPLICIT_TOKEN"})

CACHE_HOMES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
"""Variables with a directory that the unit opens: a mount's, or a directive's, value."""

_OWNED_VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "use gpus",
    "CUDA_DEVICE_ORDER": "it is always PCI_BUS_ID, the order of nvidia-smi",
    "HF_TOKEN_PATH": "use hf_token_file",
    "VLLM_API_KEY": "use api_key_file",
    # RUN 0.32: its fingerprint leaves gpu_memory_utilization out, and graphs are counted twice.
    "VLLM_ENABLE_STARTUP_PLAN": "with it vLLM takes the KV cache's size of an earlier start, "
    "whatever gpu_memory_utilization says, so that no remedy for want of memory takes effect; "
    "use recovery.reuse_profile",
}


def model(value: object) -> str:
    """Read a hub id "org/name" or the absolute path of a local model.

    The hub has no name with two dashes or dots in a row (huggingface_hub, validate_repo_id); in its
    cache two dashes stand for the slash.
    """
    name = text(value)
    if name.startswith("/"):
        return absolute_path(name)
    if _HUB_ID.fullmatch(name) and not re.search(r"--|\.\.", name):
        return name
    if "://" in name:
        raise WrongValueError(
            f"{as_toml(name)} is an address: copy or mount the model, and give its absolute path"
        )
    raise WrongValueError(
        f'{as_toml(name)} is neither a hub id "org/name" nor the absolute path of a model'
    )


def user(value: object) -> str:
    """Read the name of an unprivileged system user."""
    name = text(value)
    if not _USER.fullmatch(name):
        raise WrongValueError(f"{as_toml(name)} is not the name of a system user")
    if name == "root":
        raise WrongValueError("vLLM must not run as root; name an unprivileged user")
    return name


def gpus(value: object) -> tuple[str, ...]:
    """Read "all" or a list of indices and UUIDs, as `nvidia-smi -L` prints them."""
    if value == "all":
        return ("all",)
    if not isinstance(value, list) or not value:
        raise WrongValueError(
            f'{as_toml(value)} is neither "all" nor a list of GPU indices or UUIDs, as [0, 1]'
        )
    names: list[str] = []
    for item in value:
        name = str(item) if isinstance(item, int) and not isinstance(item, bool) else item
        if not isinstance(name, str) or not _GPU.fullmatch(name):
            raise WrongValueError(
                f"{as_toml(item)} is neither a GPU index nor a UUID (nvidia-smi -L)"
            )
        if name in names:
            raise WrongValueError(f"{as_toml(item)} is listed twice")
        names.append(name)
    return tuple(names)


def environment(value: object) -> Mapping[str, str]:
    """Read environment variables, refusing those that hold a secret or belong to another key."""
    if not isinstance(value, dict):
        raise WrongValueError(f"{as_toml(value)} is not a table of strings")
    wrong = [reason for name, item in value.items() if (reason := _variable_refusal(name, item))]
    if wrong:
        raise WrongValueError("; ".join(wrong))
    return MappingProxyType(dict(value))


def _variable_refusal(name: str, value: object) -> str | None:
    if not _VARIABLE.fullmatch(name):
        return f"{name!r} is not the name of an environment variable"
    if not isinstance(value, str):
        return f"{name}: {as_toml(value)} is not a string; put it in quotes"
    if "\x00" in value:
        return f"{name}: a value cannot hold a NUL character"
    if name in _OWNED_VARIABLES:
        return f"{name} belongs to llmagent: {_OWNED_VARIABLES[name]}"
    if name in CACHE_HOMES:
        return _refused_by(plain_path, value, name)
    if name in _NOT_SECRET:
        return None
    if name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        return f"{name} would be readable for everyone; put the token in a file: hf_token_file"
    if _SECRET_NAME.search(name.upper()) or SECRET_VALUE.search(value):
        return (
            f"{name} looks like a secret, and a unit is readable for everyone; set it from a file "
            f"of mode 0600 with `systemctl edit` (EnvironmentFile= or LoadCredential=)"
        )
    return None


def _refused_by(reader: Reader, value: object, name: str) -> str | None:
    try:
        reader(value)
    except WrongValueError as wrong:
        return f"{name}: {wrong}"
    return None


def token_file(value: object) -> str:
    """Read the path of the file that holds the Hugging Face token."""
    if isinstance(value, str) and SECRET_VALUE.fullmatch(value):
        raise WrongValueError("holds a token; put the token in a file of mode 0600 and name that")
    return plain_path(value)
