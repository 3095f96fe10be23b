# SPDX-License-Identifier: Apache-2.0
"""One look at a host that nothing is configured on: cards, engines, models, ports, disks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Generic, TypeVar

from agent.core.doctor.host import EngineProcess
from agent.core.engine.install import EngineInstall
from agent.core.gpu.reading import Gpu, Gpus
from agent.core.measures import GIB
from agent.core.numerals import whole_number
from agent.core.record import dataclass
from agent.core.settings.engine import Runtime, version_in
from agent.host.models.here import ModelHere, models_here
from agent.host.probes.engines_here import pythons_with_vllm
from agent.host.probes.kernel import engines, listener
from agent.host.probes.runtimes.every import PROBES
from agent.host.vllm.install import inspect
from agent.places import UNIT_DIRECTORY
from agent.tasks.look_at_gpus import look_once

T = TypeVar("T")

NVML_SECONDS = 10.0
SEARCH_SECONDS = 20.0
FIRST_PORT, LAST_PORT = 8000, 8100
MODELS_AT = Path("/var/lib/vllm")


@dataclass(frozen=True, slots=True)
class ImageHere:
    """An image of vLLM that a runtime has; `version` is what its tag tells."""

    runtime: Runtime
    name: str
    version: str | None


@dataclass(frozen=True, slots=True)
class HostLook:
    """What is there; `installs` and `images` the newest first, `free_gib` where models go.

    `late` names what could not be looked for in time.
    """

    gpus: Gpus
    installs: tuple[EngineInstall, ...]
    images: tuple[ImageHere, ...]
    models: tuple[ModelHere, ...]
    running: tuple[EngineProcess, ...]
    free_gib: float
    late: tuple[str, ...] = ()

    @property
    def cards(self) -> tuple[Gpu, ...]:
        """The cards of the kind that has most memory in all: one service takes cards of a kind."""
        kinds: dict[str, list[Gpu]] = {}
        for gpu in self.gpus.gpus:
            if not gpu.lost and gpu.memory is not None:
                kinds.setdefault(gpu.name, []).append(gpu)
        return tuple(sorted(kinds.values(), key=_memory)[-1]) if kinds else ()


def look_at_host() -> HostLook:
    """Look at everything once; what cannot be read is not there."""
    own = frozenset(file.name for file in UNIT_DIRECTORY.glob("*.service"))
    engines_search = Search(lambda: [inspect(python) for python in pythons_with_vllm()])
    models_search = Search(lambda: list(models_here()))
    gpus = look_once(NVML_SECONDS)
    installs = engines_search.found(SEARCH_SECONDS)
    models = models_search.found(SEARCH_SECONDS)
    late = [("vLLM", engines_search.is_over), ("models", models_search.is_over)]
    found = [install for install in installs if not install.problems]
    return HostLook(
        gpus=gpus,
        installs=tuple(sorted(found, key=lambda one: _release(one.version), reverse=True)),
        images=tuple(_images()),
        models=tuple(models),
        running=engines(own),
        free_gib=_free(MODELS_AT),
        late=tuple(name for name, is_over in late if not is_over),
    )


class Search(Generic[T]):
    """A search of directories in a thread: a file system that does not answer costs its part only.

    What hangs is left behind, and ends with the command.
    """

    def __init__(self, search: Callable[[], list[T]]) -> None:
        """Begin at once."""
        self._found: list[T] = []
        self._thread = threading.Thread(target=self._run, args=(search,), daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return not self._thread.is_alive()

    def found(self, deadline_seconds: float) -> list[T]:
        """Return what was found, nothing where the search is not over by then."""
        self._thread.join(deadline_seconds)
        return self._found

    def _run(self, search: Callable[[], list[T]]) -> None:
        self._found = search()


def free_port(taken: Collection[int]) -> int:
    """Return the first port from 8000 on which nobody listens and that no service has."""
    ports = (port for port in range(FIRST_PORT, LAST_PORT) if port not in taken)
    return next((port for port in ports if listener(port) is None), FIRST_PORT)


def _images() -> list[ImageHere]:
    found = [
        ImageHere(runtime, name, version_in(name))
        for runtime, probe in PROBES.items()
        for name in probe.images()
        if "vllm" in name and "<none>" not in name
    ]
    return sorted(found, key=lambda image: _release(image.version), reverse=True)


def _release(version: str | None) -> tuple[int, ...]:
    parts = (version or "").split(".")
    return tuple(n for part in parts[:3] if (n := whole_number(part)) is not None)


def _memory(cards: list[Gpu]) -> int:
    return sum(card.memory.total_bytes for card in cards if card.memory is not None)


def _free(place: Path) -> float:
    while not place.exists():
        place = place.parent
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize / GIB
