# SPDX-License-Identifier: Apache-2.0
"""What else a container was given: as words of `docker run`, but for what our unit gives by itself.

Names are those of docker run(1), the Compose file and the Engine API's HostConfig.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.core.command.values import LONGEST_NUMBER
from agent.core.foreign.shapes import rows, table
from agent.core.measures import GIB
from agent.core.numerals import whole_number

SHARED_MEMORY_BYTES = 16 * GIB
"""The unit's --shm-size (core/unit/container_command.py)."""

_LIMITS = {"memlock": -1, "core": -1, "stack": 67108864, "nofile": 1048576}
"""The unit's --ulimit: a limit up to this is met, -1 any."""

_USUAL_RUNTIMES = frozenset({"", "runc", "crun", "oci", "nvidia", "io.containerd.runc.v2"})
"""With --gpus all of them get NVIDIA's GPUs into the container; podman calls its own "oci"."""

_USUAL_IPC = frozenset({"", "host", "private", "shareable", "none"})

ON_THE_HOST = "the service listens on the host: others reach it at the host's address"
"""Why no network of a runtime's is carried over."""

OF_THE_HOST = "the network is the host's, and so is this: see sysctl.d(5)"
"""Why no sysctl of a container's network is carried over: the runtimes refuse it there."""

OF_OTHERS = "the service's shared memory is its own: a container that shares it cannot"
"""Why --ipc=container:NAME is not carried over; the unit has an --ipc of its own."""

_WITH_HOST_IPC = frozenset({"label=disable", "label:disable"})
"""What docker's daemon itself writes into the answer of `inspect` where the IPC is the host's."""

_SIZE = re.compile(r"(\d{1,1000}(?:\.\d{1,1000})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": GIB, "t": GIB << 10}

_COMPOSE = {
    "cap_add": "--cap-add",
    "cap_drop": "--cap-drop",
    "cpus": "--cpus",
    "cpuset": "--cpuset-cpus",
    "device_cgroup_rules": "--device-cgroup-rule",
    "devices": "--device",
    "dns": "--dns",
    "extra_hosts": "--add-host",
    "group_add": "--group-add",
    "mem_limit": "--memory",
    "memswap_limit": "--memory-swap",
    "runtime": "--runtime",
    "security_opt": "--security-opt",
    "shm_size": "--shm-size",
    "tmpfs": "--tmpfs",
    "ulimits": "--ulimit",
    "userns_mode": "--userns",
}
COMPOSE_KEYS = frozenset(_COMPOSE)
"""Keys of a compose service of which `options_of_compose` makes options."""

_HOST_CONFIG = {
    "CapAdd": "--cap-add",
    "CapDrop": "--cap-drop",
    "CpusetCpus": "--cpuset-cpus",
    "DeviceCgroupRules": "--device-cgroup-rule",
    "Dns": "--dns",
    "ExtraHosts": "--add-host",
    "GroupAdd": "--group-add",
    "Memory": "--memory",
    "Runtime": "--runtime",
    "SecurityOpt": "--security-opt",
    "ShmSize": "--shm-size",
    "Tmpfs": "--tmpfs",
    "UsernsMode": "--userns",
}


def is_own_memory(ipc: str) -> bool:
    """Tell whether the value of --ipc leaves other containers out, as the unit's does."""
    return ipc in _USUAL_IPC


def is_met(flag: str, value: str) -> bool:
    """Tell whether a container of our unit has what this option asks for, without it."""
    match flag:
        case "--ulimit":
            name, _, limit = value.partition("=")
            ours = _LIMITS.get(name, 0)
            return ours == -1 or whole_number(limit.partition(":")[0], ours) is not None
        case "--shm-size":
            asked_bytes = _bytes(value)
            return asked_bytes is not None and asked_bytes <= SHARED_MEMORY_BYTES
        case "--runtime":
            return value in _USUAL_RUNTIMES
        case "--security-opt":
            own = value.startswith("no-new-privileges") and not value.endswith("false")
            return own or value in _WITH_HOST_IPC
        case "--device":
            return "nvidia.com/gpu=" in value or value.startswith("/dev/nvidia")
        case _:
            return False


def options_of_compose(service: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options that a service of a compose file comes to."""
    limits = table(table(table(service.get("deploy")).get("resources")).get("limits"))
    found = [(flag, word) for key, flag in _COMPOSE.items() for word in _values(service.get(key))]
    found += [("--memory", word) for word in _values(limits.get("memory"))]
    found += [("--cpus", word) for word in _values(limits.get("cpus"))]
    return _unmet(found)


def options_of_host_config(host: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options that a container was made with, as the Engine API tells them."""
    found = [
        (flag, word)
        for key, flag in _HOST_CONFIG.items()
        for word in _values(host.get(key))
        if word not in ("", "0")
    ]
    for limit in map(table, rows(host.get("Ulimits"))):
        asked = f"{limit.get('Name')}={limit.get('Soft')}:{limit.get('Hard')}"
        found.append(("--ulimit", asked))
    for device in map(table, rows(host.get("Devices"))):
        place = f"{device.get('PathOnHost')}:{device.get('PathInContainer')}"
        found.append(("--device", f"{place}:{device.get('CgroupPermissions') or 'rwm'}"))
    cores = host.get("NanoCpus")
    if isinstance(cores, int) and cores > 0:
        found.append(("--cpus", f"{cores / 1e9:g}"))
    return _unmet(found)


def _unmet(found: list[tuple[str, str]]) -> tuple[str, ...]:
    options = (f"{flag}={value}" for flag, value in found if not is_met(flag, value))
    return tuple(dict.fromkeys(options))


def _values(value: object) -> Iterator[str]:
    """Yield what stands in a key: one word, a list of them, or a table (of limits, too)."""
    match value:
        case bool() | None:
            return
        case str() | int() | float():
            yield str(value)
        case Mapping():
            for name, inner in value.items():
                yield _pair(str(name), inner)
        case list():
            yield from (str(item) for item in value if isinstance(item, str | int | float))


def _pair(name: str, inner: object) -> str:
    match inner:
        case Mapping():
            return f"{name}={inner.get('soft')}:{inner.get('hard', inner.get('soft'))}"
        case str() if name.startswith("/") or not inner:
            return f"{name}:{inner}".rstrip(":")  # a tmpfs
        case str():
            return f"{name}:{inner}"  # a host and its address
        case _:
            return f"{name}={inner}"


def _bytes(text: str) -> int | None:
    found = _SIZE.fullmatch(text.strip())
    if found is None or len(found[1]) > LONGEST_NUMBER:
        return None
    return int(float(found[1]) * _UNITS[found[2].lower()])
