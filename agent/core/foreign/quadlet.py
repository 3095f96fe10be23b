# SPDX-License-Identifier: Apache-2.0
"""A .container file of podman's (podman-systemd.unit(5)), as the unit that podman makes of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from agent.core.command.unit_file import assignments
from agent.core.foreign.found import Found, Left
from agent.core.foreign.options import ON_THE_HOST
from agent.core.foreign.words import split

_OPTIONS = {
    "AddDevice": "--device",
    "AddHost": "--add-host",
    "ContainerName": "--name",
    "DNS": "--dns",
    "DNSOption": "--dns-option",
    "DNSSearch": "--dns-search",
    "Entrypoint": "--entrypoint",
    "EnvironmentFile": "--env-file",
    "GIDMap": "--gidmap",
    "GroupAdd": "--group-add",
    "Memory": "--memory",
    "Mount": "--mount",
    "Network": "--network",
    "PublishPort": "--publish",
    "ShmSize": "--shm-size",
    "SubGIDMap": "--subgidname",
    "SubUIDMap": "--subuidname",
    "Timezone": "--tz",
    "Tmpfs": "--tmpfs",
    "UIDMap": "--uidmap",
    "Ulimit": "--ulimit",
    "UserNS": "--userns",
    "Volume": "--volume",
}
"""Keys of [Container] that are one option of podman run each."""

_SEVERAL = {"AddCapability": "--cap-add", "DropCapability": "--cap-drop", "Sysctl": "--sysctl"}
"""Those of which each word is one."""

_SECURITY = {
    "Mask": "mask",
    "SeccompProfile": "seccomp",
    "SecurityLabelFileType": "label=filetype",
    "SecurityLabelLevel": "label=level",
    "SecurityLabelType": "label=type",
    "Unmask": "unmask",
}
"""Those that are one --security-opt=NAME=VALUE each."""

_IF_TRUE = {"ReadOnly": "--read-only", "SecurityLabelDisable": "--security-opt=label=disable"}

_READ = frozenset({"Image", "Exec", "Environment", "PodmanArgs", "User", "Group"})
_OURS = frozenset(
    {
        *("Annotation", "AutoUpdate", "ExposeHostPort", "HostName", "Label", "LogDriver", "LogOpt"),
        *("NoNewPrivileges", "Notify", "PidsLimit", "Pull", "ReadOnlyTmpfs", "Retry", "RetryDelay"),
        *("RunInit", "ServiceName", "StopSignal", "StopTimeout", "WorkingDir"),
    }
)
"""What llmagent's unit has of its own, or what has no meaning in it."""

_WHY = {
    "IP": ON_THE_HOST,
    "IP6": ON_THE_HOST,
    "NetworkAlias": ON_THE_HOST,
    "Pod": "the service's container stands alone: what shares the pod reaches it at the host",
    "Secret": "name the file that holds it with hf_token_file or api_key_file",
}
_NO_KEY = "no key of agent.toml is like it; see extra_options of [service.NAME.engine]"
_HEADER = re.compile(r"\[(.+)\]")
_TRUE = frozenset({"1", "yes", "true", "on"})


def unit_of_container_file(text: str, directory: str) -> tuple[str, tuple[Left, ...]]:
    """Return the unit around `podman run ...`, and what of [Container] is not in it.

    `directory` is the file's own: paths that begin with "." lie there.
    """
    ours, others = list[str](), list[str]()
    section = ""
    for line in text.splitlines():
        if found := _HEADER.fullmatch(line.strip()):
            section = found[1]
        (ours if section == "Container" else others).append(line)
    beside = Found("", (), directory=directory)
    pairs = [(key, beside.placed(value)) for key, value in assignments("\n".join(ours))]
    single = {key: value for key, value in pairs if value}
    words = (*_options(pairs), *_user(single), single.get("Image", ""))
    command = split(single.get("Exec", ""))
    line = " ".join(map(shlex.quote, ("/usr/bin/podman", "run", *words, *command)))
    return "\n".join((*others, "[Service]", f"ExecStart={line}", "")), tuple(_left(pairs))


def _user(single: dict[str, str]) -> Iterator[str]:
    if "User" in single or "Group" in single:
        group = f":{single['Group']}" if "Group" in single else ""
        yield from ("--user", f"{single.get('User', '0')}{group}")


def _options(pairs: list[tuple[str, str]]) -> Iterator[str]:
    for key, value in pairs:
        if not value:
            continue
        if key == "Environment":
            for variable in split(value):
                yield from ("--env", variable)
        elif key == "PodmanArgs":
            yield from split(value)
        elif key in _SEVERAL:
            yield from (f"{_SEVERAL[key]}={word}" for word in split(value))
        elif key in _SECURITY:
            yield f"--security-opt={_SECURITY[key]}={value}"
        elif key in _IF_TRUE and value.lower() in _TRUE:
            yield _IF_TRUE[key]
        elif key in _OPTIONS:
            yield from (_OPTIONS[key], value)


def _left(pairs: list[tuple[str, str]]) -> Iterator[Left]:
    known = _READ | _OURS | _OPTIONS.keys() | _SEVERAL.keys() | _SECURITY.keys() | _IF_TRUE.keys()
    for key, value in pairs:
        if value and key not in known and not key.startswith("Health"):
            yield Left(f"{key}={value}", _WHY.get(key, _NO_KEY))
