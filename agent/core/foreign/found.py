# SPDX-License-Identifier: Apache-2.0
"""How an engine is started that is not ours, in one shape for every way to start it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from agent.core.record import dataclass

NOTHING: Mapping[str, str] = MappingProxyType({})
OF_THE_DEMO = "its clients ask /generate, which vLLM's own server lacks: they must ask /v1 instead"
"""What is to be told of who ran the demo server (core/command/line.py)."""


class NoEngineError(ValueError):
    """Nothing that starts vLLM is in it; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is not carried over, as it stands there and without a secret, and why or whereto."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A place of the host (or a volume's name) that a container sees at `target`."""

    source: str
    target: str
    read_only: bool = False

    @property
    def is_volume(self) -> bool:
        """Whether the runtime keeps it, so that it has no path of the host's."""
        return not self.source.startswith("/")

    def outside(self, path: str) -> str | None:
        """Return where a path of the container's lies on the host, None where not in here."""
        if path == self.target or path.startswith(f"{self.target.rstrip('/')}/"):
            return f"{self.source.rstrip('/')}{path[len(self.target.rstrip('/')) :]}"
        return None


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the container's that the host publishes at `host`:`outside`."""

    inside: int
    outside: int
    host: str = "0.0.0.0"  # noqa: S104 - what a runtime takes where no address is given


@dataclass(frozen=True, slots=True)
class Container:
    """What of a container matters to vLLM; `options` are words of docker run for what is more."""

    runtime: str
    image: str
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    host_network: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """One engine: `words` stand behind `vllm serve`, `program` runs it ("" in a container).

    `directory` is where it runs and `home` what "~" is, for relative paths; `user` is "" where
    nobody says; `gpus` are indices or UUIDs where something besides the environment names them.
    `launcher` is what chooses a Python environment that is not known from the line.
    """

    name: str
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    program: str = ""
    user: str = ""
    directory: str = ""
    home: str = "/root"
    container: Container | None = None
    gpus: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()
    launcher: Left | None = None

    def placed(self, path: str) -> str:
        """Return the absolute path of one that begins with "~", "." or ".."; others as they are."""
        head, _, rest = path.partition("/")
        if head not in ("~", ".", "..") or not self.directory.startswith("/"):
            return f"{self.home}/{rest}".rstrip("/") if head == "~" else path
        place = self.home if head == "~" else self.directory.rstrip("/")
        for step in (head, *rest.split("/")) if head != "~" else rest.split("/"):
            match step:
                case "..":
                    place = place.rpartition("/")[0]
                case "" | ".":
                    continue
                case _:
                    place = f"{place}/{step}"
        return place or "/"
