# SPDX-License-Identifier: Apache-2.0
"""The engine that is replaced: how it is ended, and how it comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.errors import HostLacksError, UsageError
from agent.host.probes.command import output_of
from agent.host.systemd.commands import answer, systemctl
from agent.tasks.foreign.source import Kind, Source, is_ours

ASIDE = ".before-llmagent"
"""Behind the name of a unit that stood where ours is linked; systemd reads no such file."""

STOP_SECONDS = 300.0
_ETC = Path("/etc/systemd/system")

Run = Callable[..., str]


class OldEngine(Protocol):
    """What starts the engine now; each method raises HostLacksError."""

    @property
    def name(self) -> str:
        """Its name for a person."""

    def end(self) -> None:
        """Stop it, and see that nothing starts it again."""

    def bring_back(self) -> None:
        """Have it as it was: started where it ran, and started at boot where it was."""

    def way_back(self) -> tuple[str, ...]:
        """Return the commands that do the same by hand."""


@dataclass(frozen=True, slots=True)
class OldUnit:
    """A systemd unit; `in_the_way` are files of its that ours would be linked over."""

    name: str
    was_active: bool
    was_enabled: bool
    in_the_way: tuple[Path, ...] = ()

    def end(self) -> None:
        """Stop and disable it, and put aside what stands where ours is linked."""
        systemctl("stop", self.name, seconds=STOP_SECONDS)
        if self.was_enabled:
            systemctl("disable", self.name)
        for file in self.in_the_way:
            file.rename(_aside(file))
        systemctl("daemon-reload")

    def bring_back(self) -> None:
        """Put its files back, enable and start it."""
        for file in self.in_the_way:
            if _aside(file).exists() and not file.exists():
                _aside(file).rename(file)
        systemctl("daemon-reload")
        if self.was_enabled:
            systemctl("enable", self.name)
        if self.was_active:
            systemctl("start", self.name, seconds=STOP_SECONDS)

    def way_back(self) -> tuple[str, ...]:
        """Return the commands that do the same by hand."""
        return tuple(self._commands())

    def _commands(self) -> Iterator[str]:
        yield from (f"mv {_aside(file)} {file}" for file in self.in_the_way)
        yield "systemctl daemon-reload"
        if self.was_enabled:
            yield f"systemctl enable {self.name}"
        if self.was_active:
            yield f"systemctl start {self.name}"


@dataclass(frozen=True, slots=True)
class OldContainer:
    """A container of docker or podman, with its restart policy."""

    name: str
    runtime: str
    policy: str
    was_running: bool

    def end(self) -> None:
        """Stop it, and take its restart policy away."""
        self._do("update", "--restart=no")
        self._do("stop", "--time=60")

    def bring_back(self) -> None:
        """Give it its policy again, and start it where it ran."""
        self._do("update", f"--restart={self.policy}")
        if self.was_running:
            self._do("start")

    def way_back(self) -> tuple[str, ...]:
        """Return the commands that do the same by hand."""
        policy = f"{self.runtime} update --restart={self.policy} {self.name}"
        return (policy, *([f"{self.runtime} start {self.name}"] if self.was_running else []))

    def _do(self, verb: str, *options: str) -> None:
        if output_of(self.runtime, verb, *options, self.name, seconds=STOP_SECONDS) is None:
            raise HostLacksError(f"{self.runtime} {verb} {self.name} failed")


def old_engine(source: Source, service: str) -> OldEngine:
    """Return what is to be replaced by the service; raises UsageError where it cannot come back."""
    match source.kind:
        case Kind.UNIT:
            return _unit(source.name, f"{service}.service")
        case Kind.PROCESS if source.unit.endswith(".service"):
            return _unit(source.unit, f"{service}.service")
        case Kind.CONTAINER if source.name:
            return _container(source)
        case Kind.CONTAINER:
            raise UsageError("--take-over ends one container: name it (docker ps)")
        case Kind.PROCESS:
            raise UsageError(
                f"process {source.name} was started by hand, so nothing could bring it back: type "
                "--write instead, end it, then `systemctl reload llmagent`"
            )
        case Kind.LINE:
            raise UsageError("--take-over replaces what runs: name a unit or a container")


def _unit(old: str, new: str) -> OldUnit:
    places = (_ETC / old, _ETC / f"{old}.d")
    if is_ours(old):
        raise UsageError(f"{old} is llmagent's own already")
    standing = tuple(file for file in places if file.exists()) if old == new else ()
    if answer("show", "--property=LoadState", "--value", old) not in ("loaded", "masked"):
        raise UsageError(f"systemd knows no unit {old}: --take-over replaces one that it starts")
    for file in standing:
        if _aside(file).exists():
            raise UsageError(f"{_aside(file)} is there from an earlier time: move it away")
    enabled = answer("is-enabled", old)
    if enabled == "generated":
        raise UsageError(
            f"{old} is made anew at each boot from a file (systemctl cat {old} names it): type "
            "--write instead, and move that file away"
        )
    active = answer("is-active", old) in ("active", "activating", "reloading")
    return OldUnit(old, active, enabled == "enabled", standing)


def _container(source: Source) -> OldContainer:
    said = json.loads(output_of(source.runtime, "container", "inspect", source.name) or "[{}]")[0]
    policy = said.get("HostConfig", {}).get("RestartPolicy", {})
    name = policy.get("Name") or "no"
    if name == "on-failure" and policy.get("MaximumRetryCount"):
        name = f"{name}:{policy['MaximumRetryCount']}"
    running = bool(said.get("State", {}).get("Running"))
    return OldContainer(source.name, source.runtime, name, running)


def _aside(file: Path) -> Path:
    return file.with_name(f"{file.name}{ASIDE}")
