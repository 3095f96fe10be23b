# SPDX-License-Identifier: Apache-2.0
"""[service.NAME.engine]: where a service's vLLM comes from, a virtual environment or an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from agent.core.record import dataclass


class Runtime(StrEnum):
    """What runs vLLM."""

    VENV = "venv"
    DOCKER = "docker"
    PODMAN = "podman"


class GpuAccess(StrEnum):
    """How GPUs get into a container: AUTO is CDI with podman, `--gpus` with docker."""

    AUTO = "auto"
    CDI = "cdi"
    GPUS = "gpus"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which vLLM; all but `runtime` is for containers only.

    `vllm_version` is that of the vLLM in the image, where its tag does not tell. `entrypoint` is
    the interpreter in the image, with what starts it before it. `mounts` are directories of the
    host that the container sees read-only at the same place.
    """

    runtime: Runtime = Runtime.VENV
    image: str | None = None
    vllm_version: str | None = None
    pull: bool = False
    entrypoint: tuple[str, ...] = ("python3",)
    gpu_access: GpuAccess = GpuAccess.AUTO
    mounts: tuple[str, ...] = ()
    extra_options: tuple[str, ...] = ()

    @property
    def in_container(self) -> bool:
        """Whether vLLM runs in a container."""
        return self.runtime is not Runtime.VENV

    @property
    def version(self) -> str | None:
        """The version of vLLM in the image, None when nobody says."""
        return self.vllm_version or version_in(self.image or "")

    @property
    def access(self) -> GpuAccess:
        """How GPUs get into the container, never AUTO."""
        if self.gpu_access is not GpuAccess.AUTO:
            return self.gpu_access
        return GpuAccess.CDI if self.runtime is Runtime.PODMAN else GpuAccess.GPUS

    def __str__(self) -> str:
        """Return what it is, as the history tells it."""
        return f"{self.runtime} {self.image}" if self.in_container else str(self.runtime)


NVIDIA_RELEASES: Mapping[str, str] = MappingProxyType(
    {
        "25.09": "0.10.1.1",
        "25.10": "0.10.2",
        "26.01": "0.11.1",
        "26.03": "0.17.1",
        "26.05": "0.20.1",
        "26.10": "0.31.0",
    }
)
"""vLLM in NVIDIA's images, whose tags do not tell: each page of the release notes that was read
(docs.nvidia.com/deeplearning/frameworks/vllm-release-notes/rel-YY-MM.html)."""

_VLLM_TAG = re.compile(r"v?(0\.\d+\.\d+(?:\.\w+)?)(?:-.*)?")


def version_in(image: str) -> str | None:
    """Return the version of vLLM that the tag of an image tells, None when it tells none."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    if not name or "/" in tag:
        return None
    if name.endswith("nvidia/vllm"):
        return NVIDIA_RELEASES.get(tag.split("-")[0])
    found = _VLLM_TAG.fullmatch(tag)
    return found.group(1) if found else None
