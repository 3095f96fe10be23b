# SPDX-License-Identifier: Apache-2.0
"""The engine that is replaced: how it is ended, and how it comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from agent.core.record import dataclass
from agent.errors import HostLacksError, UsageError
from agent.host.probes.command import output_of
from agent.host.systemd.commands import answer, systemctl
from agent.tasks.foreign.source import Kind, Source, is_ours

ASIDE = ".before-llmagent"
"""Behind the name of a unit that stood where ours is linked; systemd reads no such file."""

PODMANS_RESTART = "podman-restart.service"
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
    """A container of docker or podman; `policy` is its restart policy, "no" for none.

    `is_in_the_way`: the service's own container will have its name, so that it has another
    meanwhile.
    """

    name: str
    runtime: str
    policy: str
    was_running: bool
    is_in_the_way: bool = False

    def end(self) -> None:
        """Take its restart policy away, stop it, and put its name aside."""
        if self.policy != "no" and not self._done("update", "--restart=no", self.name):
            self._refuse_what_comes_back_at_boot()
        self._do("stop", "--time=60", self.name)
        if self.is_in_the_way:
            self._do("rename", self.name, f"{self.name}{ASIDE}")

    def bring_back(self) -> None:
        """Give it its name and its policy again, and start it where it ran."""
        if self.is_in_the_way and self._done("container", "inspect", f"{self.name}{ASIDE}"):
            self._do("rename", f"{self.name}{ASIDE}", self.name)
        if self.policy != "no" and not self._done("update", f"--restart={self.policy}", self.name):
            self._refuse_what_comes_back_at_boot()
        if self.was_running:
            self._do("start", self.name)

    def way_back(self) -> tuple[str, ...]:
        """Return the commands that do the same by hand."""
        return tuple(self._commands())

    def _commands(self) -> Iterator[str]:
        if self.is_in_the_way:
            yield f"{self.runtime} rename {self.name}{ASIDE} {self.name}"
        if self.policy != "no":
            yield f"{self.runtime} update --restart={self.policy} {self.name}"
        if self.was_running:
            yield f"{self.runtime} start {self.name}"

    def _refuse_what_comes_back_at_boot(self) -> None:
        """Raise HostLacksError where the restart policy would start it beside ours.

        podman before 5.1 cannot change the policy (podman-update(1)). What was stopped by a person
        stays down there, but for `always` at a boot, by podman-restart.service.
        """
        if self.runtime != "podman":
            raise HostLacksError(f"{self.runtime} update {self.name} failed")
        if self.policy == "always" and answer("is-enabled", PODMANS_RESTART) == "enabled":
            raise HostLacksError(
                f"podman cannot change the restart policy of {self.name}, which is always, and "
                f"{PODMANS_RESTART} starts it at boot: disable that, or make the container anew "
                "without --restart"
            )

    def _do(self, *words: str) -> None:
        if not self._done(*words):
            raise HostLacksError(f"{self.runtime} {' '.join(words)} failed")

    def _done(self, *words: str) -> bool:
        return output_of(self.runtime, *words, seconds=STOP_SECONDS) is not None


def old_engine(source: Source, service: str) -> OldEngine:
    """Return what is to be replaced by the service; raises UsageError where it cannot come back."""
    match source.kind:
        case Kind.UNIT:
            return _unit(source.name, f"{service}.service")
        case Kind.PROCESS if source.unit.endswith(".service"):
            return _unit(source.unit, f"{service}.service")
        case Kind.CONTAINER if source.name:
            return _container(source, service)
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


def _container(source: Source, service: str) -> OldContainer:
    said = json.loads(output_of(source.runtime, "container", "inspect", source.name) or "[{}]")[0]
    policy = said.get("HostConfig", {}).get("RestartPolicy", {})
    name = policy.get("Name") or "no"
    if name == "on-failure" and policy.get("MaximumRetryCount"):
        name = f"{name}:{policy['MaximumRetryCount']}"
    running = bool(said.get("State", {}).get("Running"))
    # It may have been named by its id.
    called = str(said.get("Name") or source.name).removeprefix("/")
    return OldContainer(called, source.runtime, name, running, called == service)


def _aside(file: Path) -> Path:
    return file.with_name(f"{file.name}{ASIDE}")
