# SPDX-License-Identifier: Apache-2.0
"""Hosts that meet by Ray: who starts it, with which command.

The head has Ray in a unit of its own below the service's; a host that joins is Ray alone. vLLM's
workers are Ray's children on all of them. Ray 2.60 was run with these commands (without vLLM, whose
CPU platform refuses it).
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.settings.cluster import ClusterSettings, ray_unit_of
from agent.core.settings.service import Settings
from agent.core.unit.environment import state_directory
from agent.core.unit.openings import gpus_of


def ray_unit_name(settings: Settings) -> str:
    """Return the name of the unit that runs Ray's head for a service."""
    return ray_unit_of(settings.name)


def head_command(settings: Settings) -> tuple[str, ...]:
    """Return what starts Ray's head and stays until it ends."""
    cluster = _cluster(settings)
    return (
        _ray(settings),
        *("start", "--head", f"--port={cluster.ray_port}"),
        *_common(settings, cluster),
        # The dashboard would let whoever reaches it run programs here (Ray's manual, "Security").
        "--include-dashboard=false",
        f"--temp-dir={directory(settings)}",
        "--block",
    )


def join_command(settings: Settings) -> tuple[str, ...]:
    """Return what waits for Ray's head, joins it, and stays until it ends.

    Ray itself gives up on a head that is not there yet; who waits here is ended by the agent.
    """
    cluster = _cluster(settings)
    address = f"{cluster.meeting_address}:{cluster.ray_port}"
    join = (_ray(settings), "start", f"--address={address}", *_common(settings, cluster), "--block")
    waits = f'until {is_up(cluster)}; do sleep 1; done; exec "$@"'
    return ("/bin/bash", "-c", waits, "join", *join)


def has_begun(settings: Settings) -> str:
    """Return the condition in bash that Ray's head takes connections, and programs on its host."""
    raylet = f"{directory(settings)}/session_latest/sockets/raylet"
    return f"{is_up(_cluster(settings))} && [ -S {raylet} ]"


def is_up(cluster: ClusterSettings) -> str:
    """Return the condition in bash that Ray's head takes connections."""
    return f"(: <>/dev/tcp/{cluster.meeting_address}/{cluster.ray_port}) 2>/dev/null"


def directory(settings: Settings) -> str:
    """Return where Ray has its sockets and logs: both units of the head must see it.

    Ray's paths below it take up to 62 characters of the 107 that a socket's path may have.
    """
    return f"/var/lib/{state_directory(settings)}/ray/{settings.name}"


def _ray(settings: Settings) -> str:
    return f"{settings.python.rpartition('/')[0]}/ray"


def _common(settings: Settings, cluster: ClusterSettings) -> Iterator[str]:
    yield f"--node-ip-address={cluster.host_ip}"
    yield f"--num-gpus={gpus_of(settings)}"


def _cluster(settings: Settings) -> ClusterSettings:
    assert settings.cluster is not None
    return settings.cluster
