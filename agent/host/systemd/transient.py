# SPDX-License-Identifier: Apache-2.0
"""Runs one short command as a transient unit of systemd: with rights that the agent itself lacks.

llmagent.service has no CAP_SYS_PTRACE, which both looking into a process of vLLM's user and seeing
who owns a socket need. To grant it for good would let whoever gets into the agent read all memory
of the host; here one fixed command has it, or that user's uid, for seconds.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

MARGIN_SECONDS = 1.0

CONFINED = {
    "DynamicUser": "yes",
    "CapabilityBoundingSet": "",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectControlGroups": "yes",
    "RestrictNamespaces": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "LockPersonality": "yes",
    "SystemCallArchitectures": "native",
    "OOMScoreAdjust": "500",
    "WorkingDirectory": "/",
}
"""Properties of a unit that speaks with other hosts and may change nothing on this one.

systemd 252 and 257 know each of them.
"""


class TransientError(Exception):
    """The command could not be run, or gave no result in time; the text says which."""


def run_transient(
    argv: list[str], uid: int, deadline_seconds: float, capabilities: tuple[str, ...] = ()
) -> str:
    """Return what the command prints on both its outputs, whatever its exit status.

    It runs as `uid` with exactly these capabilities. Raises TransientError; what hangs is left to
    systemd, which ends it at the deadline.
    """
    granted = " ".join(capabilities)
    properties = {
        "RuntimeMaxSec": f"{deadline_seconds:.0f}",
        "TimeoutStopSec": "1",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": granted,
        "AmbientCapabilities": granted,
        "RestrictAddressFamilies": "AF_UNIX",
        "MemoryMax": "512M",
        "OOMScoreAdjust": "500",
    }
    command = [*as_transient_unit(properties, f"--uid={uid}"), *argv]
    return _output(command, deadline_seconds + MARGIN_SECONDS)


def as_transient_unit(properties: Mapping[str, str], *options: str) -> tuple[str, ...]:
    """Return what stands before a command so that systemd runs it, and its end is waited for.

    `properties` are those of the unit (systemd.exec(5), systemd.service(5)), `options` more of
    systemd-run(1).
    """
    return (
        "/usr/bin/systemd-run",
        *("--quiet", "--wait", "--pipe", "--collect", *options),
        *(f"--property={name}={value}" for name, value in properties.items()),
        "--",
    )


def _output(command: list[str], seconds: float) -> str:
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            try:
                return process.communicate(timeout=seconds)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    except subprocess.TimeoutExpired as late:
        raise TransientError(f"not done after {seconds:.0f} s") from late
    except OSError as error:
        raise TransientError(f"systemd-run cannot be run: {error.strerror}") from error
