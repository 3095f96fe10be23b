# SPDX-License-Identifier: Apache-2.0
"""[service.NAME.engine] -> EngineSettings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.config.engine_values import CACHE_HOMES
from agent.config.values import (
    SECRET_VALUE,
    Keys,
    Mistake,
    Reader,
    WrongValueError,
    as_toml,
    boolean,
    one_of,
    plain_path,
    read_table,
    text,
    token,
)
from agent.core.engine.runtimes.every import runtime_of
from agent.core.settings.engine import EngineSettings, GpuAccess, Runtime

EXAMPLE = "vllm/vllm-openai:v0.10.2"

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@-]*")
_WORD = re.compile(r"[A-Za-z0-9_./-]+")
_OPTION = re.compile(r"--([a-z][a-z0-9-]*)(=.*)?")
_SECRET = re.compile(r"(?:TOKEN|API_KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS)=", re.IGNORECASE)
_OWNED = frozenset(
    {"name", "label", "label-file", "cidfile", "rm", "replace", "restart", "detach", "pull"}
    | {"network", "net", "publish", "ipc", "log-driver", "cgroups", "entrypoint", "stop-signal"}
    | {"workdir", "tty", "interactive", "attach", "rootfs", "pod", "detach-keys", "sig-proxy"}
)
"""Options on which the unit relies."""


def _image(value: object) -> str:
    name = text(value)
    if not _IMAGE.fullmatch(name):
        raise WrongValueError(f"{as_toml(name)} is not an image, as {EXAMPLE}")
    return name


def _list_of(read: Reader, example: str) -> Reader:
    def read_list(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise WrongValueError(f"{as_toml(value)} is not a list of strings, as {example}")
        return tuple(read(item) for item in value)

    return read_list


def _word(value: object) -> str:
    word = text(value)
    if word.startswith("-") or not _WORD.fullmatch(word):
        raise WrongValueError(f"{as_toml(word)} is not the name or path of a program")
    return word


def _entrypoint(value: object) -> tuple[str, ...]:
    words: tuple[str, ...] = _list_of(_word, '["python3"]')(value)
    if not words:
        raise WrongValueError('must not be empty; ["python3"] is the default')
    return words


def _mount(value: object) -> str:
    path = plain_path(value)
    if "," in path:
        raise WrongValueError(f"{as_toml(path)} holds a comma, which no mount can have")
    return path


def _option(value: object) -> str:
    option = text(value)
    found = _OPTION.fullmatch(option)
    if not found:
        raise WrongValueError(f'{as_toml(option)} is not one word "--option=value"')
    if found.group(1) in _OWNED:
        raise WrongValueError(f"--{found.group(1)} is llmagent's own to give")
    if SECRET_VALUE.search(option) or _SECRET.search(option):
        raise WrongValueError(
            f"--{found.group(1)} holds a secret, which everyone on the host would see in ps"
        )
    return option


ENGINE: Keys = {
    "runtime": one_of(*Runtime),
    "image": _image,
    "vllm_version": token,
    "pull": boolean,
    "entrypoint": _entrypoint,
    "gpu_access": one_of(*GpuAccess),
    "mounts": _list_of(_mount, '["/data/adapters"]'),
    "extra_options": _list_of(_option, '["--shm-size=16g"]'),
}


def read_engine(
    table: Mapping[str, Any], path: tuple[str, ...], mistakes: list[Mistake]
) -> EngineSettings:
    """Read the `engine` table of a service's table; mistakes are noted."""
    below = (*path, "engine")
    values = read_table(table.get("engine", {}), below, ENGINE, mistakes)
    if "runtime" in values:
        values["runtime"] = Runtime(values["runtime"])
    if "gpu_access" in values:
        values["gpu_access"] = GpuAccess(values["gpu_access"])
    engine = EngineSettings(**values)
    mistakes += [Mistake((*path, *key), why) for key, why in _contradictions(table, engine)]
    return engine


def _contradictions(
    table: Mapping[str, Any], engine: EngineSettings
) -> Iterator[tuple[tuple[str, ...], str]]:
    if not engine.in_container:
        given = table.get("engine", {})
        for key in ENGINE.keys() & given.keys() - {"runtime"} if isinstance(given, dict) else ():
            yield ("engine", key), 'is for containers; set runtime = "docker" or "podman"'
        return
    if engine.image is None:
        yield ("engine", "image"), f"missing; {engine.runtime} needs one, as {EXAMPLE}"
    if engine.access not in runtime_of(engine).gpu_access:
        yield (
            ("engine", "gpu_access"),
            f"{engine.runtime} takes GPUs by CDI; see nvidia-ctk cdi generate",
        )
    for key in ("python", "user"):
        if key in table:
            yield (key,), f"means nothing with {engine.runtime}, whose image has its own; remove it"
    environment = table.get("environment", {})
    homes = environment if isinstance(environment, dict) else {}
    paths = [(key, table.get(key)) for key in ("model", "tokenizer", "chat_template", "uds")]
    paths += [("environment", homes.get(name)) for name in CACHE_HOMES]
    writable = table.get("writable_directories")
    if isinstance(writable, list):
        paths += [("writable_directories", place) for place in writable]
    for key, value in paths:
        if isinstance(value, str) and value.startswith("/") and ("," in value or ":" in value):
            yield (key,), f"{as_toml(value)} holds a comma or a colon, which no mount can have"
