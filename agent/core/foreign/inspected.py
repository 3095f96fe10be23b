# SPDX-License-Identifier: Apache-2.0
"""What `docker inspect` or `podman inspect` says of a container that runs vLLM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from agent.core.foreign.docker_line import RunLine, container_of_line, starts_container
from agent.core.foreign.found import Container, Found, Left, Mount, NoEngineError, Port
from agent.core.foreign.of_container import engine_in
from agent.core.foreign.options import options_of_host_config
from agent.core.foreign.shapes import rows, table
from agent.core.numerals import MOST_CARDS, MOST_PORT, whole_number

OF_RUNTIME = frozenset({"TERM", "container", "HOSTNAME", "HOME"})
"""Variables that docker and podman set by themselves."""


def engine_of_container(said: Mapping[str, Any], image: Mapping[str, Any], runtime: str) -> Found:
    """Return the engine in a container; `said` and `image` are one object of `inspect` each.

    Variables, entry point and command that the image itself has are not the operator's. Raises
    NoEngineError.
    """
    config, host = table(said.get("Config")), table(said.get("HostConfig"))
    own = table(image.get("Config"))
    of_image = dict(_environment(own))
    given = (pair for pair in _environment(config) if pair[0] not in OF_RUNTIME)
    environment = {k: v for k, v in given if of_image.get(k) != v}
    name = str(said.get("Name", "")).lstrip("/")
    network = str(host.get("NetworkMode", ""))
    box = Container(
        runtime,
        str(config.get("Image") or said.get("ImageName") or ""),
        mounts=tuple(_mounts(said)),
        ports=tuple(_ports(host)),
        host_network=network == "host",
    )
    entrypoint = _words(config.get("Entrypoint"))
    typed = _typed(config)
    options = options_of_host_config(host) if typed is None else typed.container.options
    box = replace(box, options=options)
    line = RunLine(
        box,
        name,
        command=_words(config.get("Cmd")),
        entrypoint=() if entrypoint == _words(own.get("Entrypoint")) else entrypoint,
        environment=tuple(environment.items()),
        gpus=tuple(_gpus(host)) or (typed.gpus if typed is not None else ()),
    )
    left = []
    if host.get("Privileged"):
        told = 'vLLM needs no such rights; if it does: sandbox = "off"'
        left.append(Left("--privileged", told))
    return engine_in(Found(name, (), left=tuple(left)), line)


def _typed(config: Mapping[str, Any]) -> RunLine | None:
    """Return the line that made the container, which podman keeps (CreateCommand)."""
    words = _words(config.get("CreateCommand"))
    try:
        return container_of_line(words)[1] if starts_container(words) else None
    except NoEngineError:
        return None


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _environment(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for pair in _words(config.get("Env")):
        name, equals, value = pair.partition("=")
        if equals:
            yield name, value


def _mounts(said: Mapping[str, Any]) -> Iterator[Mount]:
    for mount in rows(said.get("Mounts")):
        if isinstance(mount, dict) and mount.get("Type") in ("bind", "volume", None):
            volume = mount.get("Type") == "volume"
            source = str((mount.get("Name") if volume else mount.get("Source")) or "")
            yield Mount(source, str(mount.get("Destination", "")), mount.get("RW") is False)


def _ports(host: Mapping[str, Any]) -> Iterator[Port]:
    for inside, places in table(host.get("PortBindings")).items():
        number, _, protocol = inside.partition("/")
        for place in map(table, rows(places)):
            there = whole_number(number, MOST_PORT)
            here = whole_number(str(place.get("HostPort", "")), MOST_PORT)
            if protocol in ("", "tcp") and there is not None and here is not None:
                address = place.get("HostIp") or Port(0, 0).host
                yield Port(there, here, str(address))


def _gpus(host: Mapping[str, Any]) -> Iterator[str]:
    for request in map(table, rows(host.get("DeviceRequests"))):
        ids, count = rows(request.get("DeviceIDs")), request.get("Count")
        if ids:
            for one in ids:
                name = str(one).rpartition("=")[2]
                if name != "all":
                    yield name
        elif isinstance(count, int) and count > 0:
            yield from map(str, range(min(count, MOST_CARDS)))
