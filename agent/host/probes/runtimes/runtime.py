# SPDX-License-Identifier: Apache-2.0
"""What is looked for of each program that runs containers, without starting it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from agent.core.doctor.container import DockerDaemon, Image

CUDA: Final = "CUDA_VERSION="
"""In the environment of NVIDIA's images and of all that are made from them."""


class RuntimeProbe(Protocol):
    """One program on this host; `root` is "/" but in tests."""

    def daemon(self, root: Path = Path("/")) -> DockerDaemon | None:
        """Ask its daemon for the version; None where it has no daemon."""

    def image(self, name: str, root: Path = Path("/")) -> Image:
        """Look for an image that root's containers can have; OSError where it is closed."""

    def images(self, root: Path = Path("/")) -> tuple[str, ...]:
        """Return the names of all images, none where they cannot be listed."""


def cuda_of(configuration: object) -> str | None:
    """Return the release of CUDA that an image's configuration tells, as "12.8"."""
    environment = configuration.get("Env") if isinstance(configuration, dict) else None
    for item in environment or ():
        if str(item).startswith(CUDA):
            return ".".join(str(item).removeprefix(CUDA).split(".")[:2])
    return None
