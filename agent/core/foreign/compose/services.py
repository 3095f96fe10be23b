# SPDX-License-Identifier: Apache-2.0
"""A compose file: each of its services that runs vLLM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.core.foreign.compose.project import ReadFile, ReadText, Service, services_of
from agent.core.foreign.docker_line import RunLine, published, volume
from agent.core.foreign.found import Container, Found, Left, Mount, NoEngineError, Port
from agent.core.foreign.of_container import engine_in
from agent.core.foreign.options import (
    COMPOSE_KEYS,
    OF_OTHERS,
    ON_THE_HOST,
    is_own_memory,
    options_of_compose,
)
from agent.core.foreign.shapes import rows, table
from agent.core.foreign.variables import variables_in
from agent.core.foreign.words import split
from agent.core.numerals import MOST_CARDS

OURS = frozenset(
    {
        *("container_name", "restart", "ipc", "healthcheck", "labels", "logging", "init", "tty"),
        *("stdin_open", "stop_grace_period", "stop_signal", "hostname", "network_mode"),
        *("pull_policy", "platform", "working_dir", "scale", "oom_score_adj", "pids_limit"),
        *("expose", "profiles", "gpus", "deploy", "version"),
    }
)
"""Keys that the unit answers by itself, or of which what matters was read."""

READ = frozenset(
    {"image", "command", "entrypoint", "environment", "env_file", "ports", "volumes", "user"}
)
_WHY = {
    "build": "llmagent starts the finished image: build it before, and anew after each change",
    "depends_on": "llmagent starts the service when its GPUs and its model are ready",
    "networks": ON_THE_HOST,
    "secrets": "name the file with hf_token_file or api_key_file",
    "privileged": 'vLLM needs no such rights; if it does: sandbox = "off"',
}


def engines_of_compose(
    contents: Sequence[Mapping[str, Any]],
    base: Found,
    runtime: str,
    read: ReadText,
    files: ReadFile,
) -> tuple[Found, ...]:
    """Return the vLLM services of a compose project, in its order; raises NoEngineError for none.

    `contents` are a file and those that override it. `base` has the directory and the home of
    relative paths, and as its environment the variables of the file .env; `read` gets what env_file
    names, `files` what `extends` and `include` name.
    """
    if not any(content.get("include") for content in contents) and not isinstance(
        contents[0].get("services"), dict
    ):
        raise NoEngineError("it has no `services:`, so it is no compose file")
    found, reasons = [], []
    for service in services_of(contents, base, read, files):
        try:
            found.append(_engine(service, replace(base, environment={}), runtime, read))
        except NoEngineError as error:
            reasons.append(f"{service.name}: {error}")
    if not found:
        raise NoEngineError("; ".join(reasons[:4]) or "it has no service")
    return tuple(found)


def _engine(found: Service, base: Found, runtime: str, read: ReadText) -> Found:
    name, service = found.name, found.content
    left = [
        *base.left,
        *found.left,
        *(Left(f"${{{one}}}", "nothing sets it") for one in found.missing),
    ]
    # What compose builds itself it calls so (Compose v2).
    image = str(service.get("image") or f"{base.directory.rpartition('/')[2]}-{name}")
    environment = dict(_environment(service, left, read))
    box = Container(
        runtime,
        image,
        mounts=tuple(_mounts(service)),
        ports=tuple(_ports(service)),
        host_network=service.get("network_mode") == "host",
        options=(*options_of_compose(service), *_in_memory(service)),
    )
    line = RunLine(
        box,
        str(service.get("container_name") or name),
        command=_words(service.get("command")),
        entrypoint=_words(service.get("entrypoint")),
        environment=tuple(environment.items()),
        gpus=tuple(_gpus(service)),
        user=str(service.get("user", "")),
    )
    left += [
        Left(f"{key}:", _WHY.get(key, "no key of agent.toml is like it"))
        for key in sorted(service.keys() - OURS - READ - COMPOSE_KEYS)
    ]
    if not is_own_memory(str(service.get("ipc", ""))):
        left.append(Left(f"ipc: {service['ipc']}", OF_OTHERS))
    return engine_in(replace(base, name=name, left=tuple(left)), line)


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return split(value)
    return tuple(str(word) for word in _scalars(value))


def _scalars(value: object) -> Iterator[object]:
    for item in value if isinstance(value, Sequence) and not isinstance(value, str) else ():
        if isinstance(item, str | int | float):
            yield item


def _environment(
    service: Mapping[str, Any], left: list[Left], read: ReadText
) -> Iterator[tuple[str, str]]:
    files = service.get("env_file")
    for file in [files] if isinstance(files, str) else _paths(files):
        text = read(file)
        if text is None:
            left.append(Left(f"env_file: {file}", "it cannot be read"))
        else:
            yield from variables_in(text).items()
    given = service.get("environment")
    if isinstance(given, dict):
        for name, value in given.items():
            if isinstance(value, str | int | float):
                yield name, "true" if value is True else str(value)
            else:
                left.append(Left(f"environment: {name}", "its value is that of the shell"))
    for item in _scalars(given):
        name, equals, value = str(item).partition("=")
        if equals:
            yield name, value
        else:
            left.append(Left(f"environment: {name}", "its value is that of the shell"))


def _paths(files: object) -> Iterator[str]:
    for item in files if isinstance(files, list) else ():
        path = item.get("path") if isinstance(item, dict) else item
        if isinstance(path, str):
            yield path


def _mounts(service: Mapping[str, Any]) -> Iterator[Mount]:
    for item in rows(service.get("volumes")):
        if isinstance(item, str):
            yield volume(item)
        elif isinstance(item, dict) and isinstance(item.get("target"), str):
            if item.get("type") == "tmpfs":
                continue  # an option, see below
            read_only = item.get("read_only") is True
            yield Mount(str(item.get("source", "")), item["target"], read_only)


def _in_memory(service: Mapping[str, Any]) -> Iterator[str]:
    for item in map(table, rows(service.get("volumes"))):
        if item.get("type") == "tmpfs" and isinstance(item.get("target"), str):
            size = table(item.get("tmpfs")).get("size")
            yield f"--tmpfs={item['target']}" + (f":size={size}" if size else "")


def _ports(service: Mapping[str, Any]) -> Iterator[Port]:
    for item in rows(service.get("ports")):
        if isinstance(item, dict):
            item = f"{item.get('host_ip', '')}:{item.get('published')}:{item.get('target')}".lstrip(
                ":"
            )
        if isinstance(item, str | int) and (port := published(str(item))) is not None:
            yield port


def _gpus(service: Mapping[str, Any]) -> Iterator[str]:
    place: Any = service.get("deploy")
    for key in ("resources", "reservations", "devices"):
        place = table(place).get(key)
    for request in map(table, (*rows(place), *rows(service.get("gpus")))):
        ids, count = request.get("device_ids"), request.get("count")
        if isinstance(ids, list):
            yield from map(str, _scalars(ids))
        elif isinstance(count, int) and count > 0:
            yield from map(str, range(min(count, MOST_CARDS)))
    for device in rows(service.get("devices")):
        name = str(device).partition("nvidia.com/gpu=")[2]
        if name and name != "all":
            yield name
