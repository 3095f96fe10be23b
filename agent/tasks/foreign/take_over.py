# SPDX-License-Identifier: Apache-2.0
"""Replaces an engine of somebody else's by a service of ours, and goes back where that fails."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agent.core.record import dataclass
from agent.errors import AgentError, HostLacksError
from agent.host.systemd.commands import answer, systemctl
from agent.places import STATUS_FILE
from agent.tasks.foreign.addition import Addition, replace_file, write
from agent.tasks.foreign.old_engine import OldEngine
from agent.tasks.foreign.source import is_ours

LOOK_SECONDS = 1.0
RELOAD_SECONDS = 120.0
LET_GO_SECONDS = 15.0
LOST = frozenset({"held", "stopped"})
"""Phases that a service leaves only by a person's hand."""

Tell = Callable[[str], None]


class NotComeUpError(AgentError):
    """The new service did not come up; the message says why."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """One replacement: `service` is the name of ours; `deadline_seconds` bounds its start.

    After `most_failures` failed starts it is given up, however a next one would end.
    """

    old: OldEngine
    added: Addition
    service: str
    deadline_seconds: float
    most_failures: int = 3

    def way_back(self) -> tuple[str, ...]:
        """Return the commands that undo it by hand."""
        return (
            f"take [service.{self.service}] out of {self.added.file}",
            "systemctl reload llmagent",
            # One after the other: `disable --now` first forgets how a container is ended.
            f"systemctl stop {self.service}.service",
            f"systemctl disable {self.service}.service",
            *self.old.way_back(),
        )


def take_over(plan: TakeOver, tell: Tell, status: Path = STATUS_FILE) -> str:
    """Replace the old engine and wait until ours serves; returns what was proven, in a sentence.

    Raises NotComeUpError once everything is as it was before, and so does Ctrl-C. A hangup of the
    terminal is ignored: it would leave neither of the two.
    """
    with _undisturbed():
        began = time.time()
        new_files = [file for file in map(Path, plan.added.secrets) if not file.exists()]
        try:
            tell(f"{plan.old.name}: stop")
            plan.old.end()
            tell(f"[service.{plan.service}] is added to {plan.added.file}")
            write(plan.added)
            _reload()
            return _await_proof(plan, tell, status, began)
        except (AgentError, OSError, KeyboardInterrupt) as error:
            why = str(error) or "it was broken off"
            tell(f"going back: {why}")
            problems = go_back(plan, status, new_files)
            if not problems:
                raise NotComeUpError(f"{plan.old.name} is as it was before: {why}") from error
            by_hand = "; ".join(plan.way_back())
            told = f"{why}; on the way back: {'; '.join(problems)}. By hand: {by_hand}"
            raise NotComeUpError(told) from error


def go_back(plan: TakeOver, status: Path, new_files: Sequence[Path]) -> tuple[str, ...]:
    """Have everything as it was; returns what failed of it, the rest is done all the same.

    `new_files` are those of secrets that were not there before.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave neither
    unit = f"{plan.service}.service"
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        (f"{plan.added.file} as before", lambda: replace_file(plan.added.file, plan.added.before)),
        (
            "llmagent reads it",
            lambda: systemctl("reload", "llmagent.service", seconds=RELOAD_SECONDS),
        ),
        ("llmagent lets go", lambda: _await_let_go(plan, status)),
        (f"{unit} ends", lambda: _end_ours(unit)),
        *((f"{file} goes", partial(file.unlink, missing_ok=True)) for file in new_files),
        (f"{plan.old.name} comes back", plan.old.bring_back),
    )
    problems = []
    for what, step in steps:
        try:
            step()
        except (AgentError, OSError) as error:
            problems.append(f"{what}: {error}")
    return tuple(problems)


def _reload() -> None:
    systemctl("reload", "llmagent.service", seconds=RELOAD_SECONDS)


def _await_let_go(plan: TakeOver, status: Path) -> None:
    """Wait until the agent has dropped the service: it would put back what is taken from it."""
    end = time.monotonic() + LET_GO_SECONDS
    while _service(status, plan.service) and time.monotonic() < end:
        time.sleep(0.2)


def _end_ours(unit: str) -> None:
    # A unit of that name may be the old one still, even by a link: only ours is ended.
    if is_ours(unit):
        # Stopped first: once its link is gone, a unit that is down is not known any more.
        systemctl("stop", unit, seconds=300.0)
        systemctl("disable", unit)
        systemctl("daemon-reload")


def _await_proof(plan: TakeOver, tell: Tell, status: Path, began: float) -> str:
    shown = ""
    while True:
        seconds = time.time() - began
        service = _service(status, plan.service)
        phase = str(service.get("phase", ""))
        said = f"{phase}: {service.get('reason', '')}" if phase else "waiting for llmagent"
        if said != shown:
            tell(f"{seconds:.0f} s  {said}")
            shown = said
        if phase == "serving":
            return _proof(service, seconds)
        if phase in LOST and float(service.get("since_seconds", 0.0)) > began:
            raise NotComeUpError(f"{plan.service} is {phase}: {service.get('reason', '')}")
        failures = sum(service.get("restarts", {}).values())
        if failures >= plan.most_failures:
            failure = service.get("failure") or {}
            raise NotComeUpError(f"{failures} starts failed: {failure.get('class', 'unknown')}")
        if answer("is-active", "llmagent.service") == "failed":
            raise HostLacksError("llmagent.service has failed")
        if seconds > plan.deadline_seconds:
            raise NotComeUpError(f"it does not serve after {plan.deadline_seconds:.0f} s")
        time.sleep(LOOK_SECONDS)


def _service(status: Path, name: str) -> Mapping[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        document = json.loads(status.read_text())
        found = document.get("services", {}).get(name, {})
        return found if isinstance(found, dict) else {}
    return {}


def _proof(service: Mapping[str, Any], seconds: float) -> str:
    verdicts = [check["verdict"] for check in service.get("verification", ())]
    counts = {word: verdicts.count(word) for word in ("proven", "contradicted", "unknown")}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"serves after {seconds:.0f} s without service: {told or 'nothing was asked for'}"


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore a hangup, and take the request to end as Ctrl-C is taken."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended = signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGTERM, ended)
