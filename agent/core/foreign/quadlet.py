# SPDX-License-Identifier: Apache-2.0
"""A .container file of podman's (podman-systemd.unit(5)), as the line that podman makes of it."""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.command.unit_file import assignments
from agent.core.foreign.words import split

_OPTIONS = {
    "Volume": "--volume",
    "PublishPort": "--publish",
    "AddDevice": "--device",
    "Network": "--network",
    "EnvironmentFile": "--env-file",
    "ContainerName": "--name",
    "ShmSize": "--shm-size",
    "AddCapability": "--cap-add",
    "Ulimit": "--ulimit",
    "User": "--user",
    "Entrypoint": "--entrypoint",
}
"""Keys of [Container] that are one option of podman run each."""


def podman_line(text: str) -> tuple[str, ...]:
    """Return `podman run ...`; what stands in no key known here is left to the reader of units."""
    pairs = list(assignments(text))
    image = next((value for key, value in reversed(pairs) if key == "Image"), "")
    command = next((value for key, value in reversed(pairs) if key == "Exec"), "")
    return ("podman", "run", *_options(pairs), image, *split(command))


def _options(pairs: list[tuple[str, str]]) -> Iterator[str]:
    for key, value in pairs:
        if key == "Environment":
            for variable in split(value):
                yield from ("--env", variable)
        elif key == "PodmanArgs":
            yield from split(value)
        elif key in _OPTIONS and value:
            yield from (_OPTIONS[key], value)
