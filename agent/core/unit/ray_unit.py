# SPDX-License-Identifier: Apache-2.0
"""Settings -> the text of NAME-ray.service: Ray's head, which lives and ends with the service."""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.settings.service import Settings
from agent.core.unit.environment import environment_of
from agent.core.unit.quoting import argument, assignment, comment, value
from agent.core.unit.ray import directory, has_begun, head_command, ray_unit_name
from agent.core.unit.sandbox import sandbox_lines
from agent.core.unit.text import UnitInputs, account_lines, directory_lines, limit_lines

START_SECONDS = 120
"""Ray's head listens after a few seconds; one that does not is ended, and vLLM is not started."""

STOP_SECONDS = 20


def render_ray_unit(settings: Settings, host: UnitInputs) -> str:
    """Return the text, for a service of which `starts_ray` is true."""
    head = (
        f"Written by llmagent: Ray for {settings.unit}, which starts it and ends it.",
        f"All else: `systemctl edit {ray_unit_name(settings)}`.",
    )
    lines = (
        *(comment(line).rstrip("\n") for line in head),
        "",
        "[Unit]",
        f"Description={value(f'Ray for {settings.unit}, kept by llmagent')}",
        "Documentation=man:llmagent-cluster(7)",
        "After=network-online.target nvidia-persistenced.service",
        "Wants=network-online.target",
        # What its workers hold of the GPUs is given back whenever the service ends.
        f"PartOf={settings.unit}",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        *_service(settings, host),
    )
    return "".join(f"{line}\n" for line in lines)


def _service(settings: Settings, host: UnitInputs) -> Iterator[str]:
    yield "Type=exec"
    if host.nvidia_devices:
        yield "ExecStartPre=+-/usr/bin/nvidia-modprobe -u -c 0"
    # Sockets and logs of the lives before.
    yield f"ExecStartPre=-/bin/rm -rf {directory(settings)}"
    yield f"ExecStart={' '.join(map(argument, head_command(settings)))}"
    waits = f"until {has_begun(settings)}; do sleep 0.2; done"
    yield f"ExecStartPost=/bin/bash -c {argument(waits)}"
    yield "KillMode=mixed"
    yield f"TimeoutStartSec={START_SECONDS}"
    yield f"TimeoutStopSec={STOP_SECONDS}"
    yield from account_lines(settings, host)
    yield from directory_lines(settings)
    yield "UMask=0077"
    yield f"SyslogIdentifier={settings.name}-ray"
    yield from limit_lines()
    yield from (f"Environment={assignment(*item)}" for item in environment_of(settings).items())
    yield from sandbox_lines(settings, host.read_paths, loopback_only=False)
