# SPDX-License-Identifier: Apache-2.0
"""`docker run ...` and `podman run ...`, word by word."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import field, replace

from agent.core.foreign.found import Container, Left, Mount, NoEngineError, Port
from agent.core.foreign.options import (
    OF_OTHERS,
    OF_THE_HOST,
    ON_THE_HOST,
    is_met,
    is_own_memory,
)
from agent.core.numerals import MOST_CARDS, MOST_PORT, whole_number
from agent.core.record import dataclass

RUNTIMES = ("docker", "podman")
_SWITCHES = frozenset(
    {
        *("--rm", "-d", "--detach", "-i", "--interactive", "-t", "--tty", "--init", "--privileged"),
        *("-P", "--publish-all", "--read-only", "--no-healthcheck", "--oom-kill-disable", "-q"),
        *("--replace", "--quiet", "--sig-proxy", "--help", "--disable-content-trust"),
    }
)
_CLUSTER = re.compile(r"-[ditPq]+")
_SHORT = re.compile(r"(-[vpelwumh])([^-=].*)")
_OURS = frozenset(
    {
        *("--rm", "-d", "--detach", "-i", "--interactive", "-t", "--tty", "--init", "--replace"),
        *("--name", "--restart", "--pull", "--label", "-l"),
        *("--log-driver", "--log-opt", "--network", "--net", "--cidfile", "-w"),
        *("--workdir", "--stop-timeout", "--stop-signal", "--cgroups", "--sdnotify", "-q"),
        *("--oom-score-adj", "--pids-limit", "--hostname", "-h", "--quiet"),
        *("--health-cmd", "--health-interval", "--health-retries", "--health-timeout"),
        *("--health-start-period", "--no-healthcheck", "--platform", "--entrypoint"),
    }
)
"""What the unit gives by itself, or what has no meaning in it."""

_READ_ONLY = ("readonly", "ro")
_NO_NETWORK = ("", "bridge", "default", "private", "pasta", "slirp4netns", "none")
"""Beginnings of --network that name no other container and no network of the operator's."""


@dataclass(slots=True)
class _Read:
    given: list[tuple[str, str]] = field(default_factory=list)
    switches: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunLine:
    """A container as a line starts it: `command` stands behind the image.

    `passed_on` are variables of whoever starts it, which the container gets by name alone.
    """

    container: Container
    name: str = ""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    environment_files: tuple[str, ...] = ()
    passed_on: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    user: str = ""


def starts_container(words: Sequence[str]) -> bool:
    """Tell whether the line is one of docker's or podman's that makes a container of an image."""
    return _verb_of([word.rsplit("/", 1)[-1] for word in words]) is not None


def _verb_of(names: Sequence[str]) -> int | None:
    """Return where the verb of docker or podman stands that makes a container."""
    verbs = (
        place
        for at, name in enumerate(names)
        if name in RUNTIMES
        for place in range(at + 1, min(at + 3, len(names)))
        if names[place] in ("run", "create")
    )
    return next(verbs, None)


def container_of_line(words: Sequence[str]) -> tuple[tuple[Left, ...], RunLine]:
    """Read the line; raises NoEngineError where no image stands in it."""
    names = [word.rsplit("/", 1)[-1] for word in words]
    at = next(at for at, name in enumerate(names) if name in RUNTIMES)
    runtime = names[at]
    left: list[Left] = []
    verb = _verb_of(names)
    assert verb is not None
    read, rest = _divided(list(words[verb + 1 :]))
    if not rest:
        raise NoEngineError(f"no image stands in the {runtime} line")
    line = RunLine(Container(runtime, rest[0]), command=tuple(rest[1:]))
    for flag, value in read.given:
        line = _with(line, flag, value, left)
    left += [
        Left(flag, "no option of the unit is like it; see [service.NAME.engine] in agent.toml(5)")
        for flag in read.switches
        if flag not in _OURS and flag != "--privileged"
    ]
    if "--privileged" in read.switches:
        left.append(Left("--privileged", 'vLLM needs no such rights; if it does: sandbox = "off"'))
    return tuple(left), line


def _divided(words: list[str]) -> tuple[_Read, list[str]]:
    read = _Read()
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in _SWITCHES:
            read.switches.append(word)
        elif _CLUSTER.fullmatch(word):
            read.switches += [f"-{letter}" for letter in word[1:]]
        elif "=" in word and word.startswith("--"):
            flag, _, value = word.partition("=")
            if flag not in _SWITCHES:
                read.given.append((flag, value))
            elif value.lower() in ("true", "1"):
                read.switches.append(flag)
        elif short := _SHORT.fullmatch(word):
            read.given.append((short[1], short[2]))
        elif words:
            read.given.append((word, words.pop(0)))
    return read, words


def _with(line: RunLine, flag: str, value: str, left: list[Left]) -> RunLine:
    box = line.container
    match flag:
        case "-e" | "--env":
            name, equals, given = value.partition("=")
            if not equals:
                return replace(line, passed_on=(*line.passed_on, name))
            return replace(line, environment=(*line.environment, (name, given)))
        case "--env-file":
            return replace(line, environment_files=(*line.environment_files, value))
        case "-v" | "--volume":
            return replace(line, container=replace(box, mounts=(*box.mounts, volume(value))))
        case "--mount" if "type=tmpfs" in value.split(","):
            return replace(line, container=replace(box, options=(*box.options, tmpfs_of(value))))
        case "--mount":
            mounts = tuple(_mount(value))
            return replace(line, container=replace(box, mounts=(*box.mounts, *mounts)))
        case "-p" | "--publish":
            ports = tuple(port for word in (value,) if (port := published(word)) is not None)
            return replace(line, container=replace(box, ports=(*box.ports, *ports)))
        case "--network" | "--net" if value == "host":
            return replace(line, container=replace(box, host_network=True))
        case "--sysctl":
            left.append(Left(f"{flag} {value}", OF_THE_HOST))
            return line
        case "--ip" | "--ip6" | "--mac-address" | "--network-alias" | "--net-alias" | "--link":
            left.append(Left(f"{flag} {value}", ON_THE_HOST))
            return line
        case "--network" | "--net":
            if value.partition(":")[0] not in _NO_NETWORK:
                left.append(Left(f"{flag} {value}", ON_THE_HOST))
            return line
        case "--gpus":
            return replace(line, gpus=gpus_of(value))
        case "--device" if value.startswith("nvidia.com/gpu="):
            one = value.removeprefix("nvidia.com/gpu=")
            return replace(line, gpus=(*line.gpus, one) if one != "all" else ())
        case "--name":
            return replace(line, name=value)
        case "--entrypoint":
            return replace(line, entrypoint=(value,))
        case "-u" | "--user":
            return replace(line, user=value)
        case "--ipc":
            if not is_own_memory(value):
                left.append(Left(f"--ipc {value}", OF_OTHERS))
            return line
        case _ if flag in _OURS or is_met(flag, value):
            return line
        case _:
            return replace(line, container=replace(box, options=(*box.options, f"{flag}={value}")))


def volume(text: str) -> Mount:
    """Read "SOURCE:TARGET[:MODE]", or a volume without a name."""
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    return Mount(source, target, "ro" in options.split(",")) if target else Mount("", source)


def _mount(text: str) -> Iterator[Mount]:
    fields = dict(pair.partition("=")[::2] for pair in next(csv.reader([text])))
    target = fields.get("target") or fields.get("destination") or fields.get("dst")
    if target and fields.get("type", "volume") in ("bind", "volume"):
        read_only = any(fields.get(name, "no") in ("", "1", "true") for name in _READ_ONLY)
        yield Mount(fields.get("source") or fields.get("src", ""), target, read_only)


def tmpfs_of(text: str) -> str:
    """Return the option for "type=tmpfs,target=PLACE[,tmpfs-size=BYTES]"."""
    fields = dict(pair.partition("=")[::2] for pair in next(csv.reader([text])))
    target = fields.get("target") or fields.get("destination") or fields.get("dst", "")
    size = fields.get("tmpfs-size")
    return f"--tmpfs={target}:size={size}" if size else f"--tmpfs={target}"


def published(text: str) -> Port | None:
    """Read "[IP:]HOST:CONTAINER[/tcp]"; None for a range, UDP, or a port that the host chooses."""
    whole, _, protocol = text.partition("/")
    host, _, both = whole.rpartition(":")[0].rpartition(":")
    inside = whole.rpartition(":")[2]
    there, here = whole_number(inside, MOST_PORT), whole_number(both, MOST_PORT)
    if protocol not in ("", "tcp") or there is None or here is None:
        return None
    return Port(there, here, host.strip("[]")) if host else Port(there, here)


def gpus_of(text: str) -> tuple[str, ...]:
    """Read the value of --gpus: "all", a count, or "device=0,2"; () is every card."""
    cleaned = text.strip("\"'")
    if "device=" in cleaned:
        return tuple(one for one in cleaned.partition("device=")[2].strip("\"'").split(",") if one)
    return tuple(map(str, range(whole_number(cleaned, MOST_CARDS) or 0)))
