# SPDX-License-Identifier: Apache-2.0
"""The promises of a night, each checked where it could be broken."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.core.engine.defaults import default_utilization
from agent.core.failures.classes import EnginePhase
from agent.core.judges.alive import start_progress as startup
from agent.core.judges.alive.proof import MISSES_WHEN_UNSEEN
from agent.core.judges.alive.verification import VERIFY_LOST_SECONDS
from agent.core.judges.service.lifecycle import GRACE_SECONDS, LOG_SECONDS
from agent.core.remedy.ladders import LADDERS
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Start, Stop
from agent.core.state.host import Decision, HostState
from agent.core.state.observations import Observation
from agent.core.state.phases import Phase
from agent.core.state.transitions import TRANSITIONS

HOUR = 3600.0


class BrokenPromiseError(AssertionError):
    """A promise was broken; the message says which, when and how."""


class Named:
    """Has whatever ends a night name its seed and its hour; a crash breaks a promise too."""

    def __init__(self, seed: int, hours: Callable[[], float]) -> None:
        self._seed = seed
        self._hours = hours

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: object
    ) -> None:
        where = f"(seed {self._seed}, {self._hours():.2f} h into the night)"
        if isinstance(error, BrokenPromiseError):
            raise BrokenPromiseError(f"{error} {where}") from None
        if isinstance(error, Exception):
            last = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} in {last.name}: {error}"
            raise BrokenPromiseError(f"crash: {what} {where}") from error


def check_history(before: HostState, decision: Decision) -> None:
    """Every change of phase is told, is one that the table allows, and every action has a reason.

    Raises BrokenPromiseError.
    """
    if before.services == decision.state.services and not decision.actions:
        return
    entered: dict[str, Phase] = {name: s.phase for name, s in before.services.items()}
    for line in decision.news:
        if not line.message:
            raise BrokenPromiseError(f"history: a line of kind {line.kind} says nothing")
        if "phase" not in line.data:
            continue
        new = Phase(str(line.data["phase"]))
        old = entered.get(line.service, Phase.WAITING)
        if old is not new and (old, new) not in TRANSITIONS:
            raise BrokenPromiseError(f"history: {old} -> {new} is no transition: {line.message}")
        entered[line.service] = new
    for name, s in decision.state.services.items():
        if entered.get(name, Phase.WAITING) is not s.phase:
            raise BrokenPromiseError(f"history: {name} became {s.phase} and nobody was told")
    for action in decision.actions:
        if isinstance(action, Start | Stop) and not action.reason:
            raise BrokenPromiseError(f"history: {type(action).__name__} without a reason")
        told = {line.service for line in decision.news if line.data.get("phase")}
        if isinstance(action, Start) and action.service not in told:
            raise BrokenPromiseError("history: a start that nobody was told of")


def check_repeated(decision: Decision) -> None:
    """What was acted on is not acted on again when it is told again. Raises BrokenPromiseError."""
    for action in decision.actions:
        raise BrokenPromiseError(f"stale: {type(action).__name__} on news that was acted on before")


def bound_seconds(recovery: Recovery, start_seconds: float, services: int) -> float:
    """Return how long a service may take to serve again after its last curable fault.

    First it must be noticed: the longest is a start that stalls while it downloads, a hang behind a
    silent front end, or something asked of systemd that was lost. Then the back-off and, where it
    is spent, the hour's budget of starts. Then each change that one class may cause, one start for
    the predecessor's memory and one for the last; a start is judged after its log was waited for,
    and has the card for itself, so that all services on it take turns.
    """
    notice = max(
        *(startup.limit(recovery, phase) * startup.BUSY_PATIENCE for phase in EnginePhase),
        MISSES_WHEN_UNSEEN * (recovery.hang_seconds + recovery.canary_seconds),
        VERIFY_LOST_SECONDS + recovery.hang_seconds,
    )
    asked = recovery.stop_seconds + 30 + GRACE_SECONDS
    waiting = recovery.backoff_max_seconds + HOUR
    tries = max(len(ladder) for ladder in LADDERS.values()) + 2
    one = start_seconds + LOG_SECONDS + asked
    return notice + asked + waiting + tries * one * services


@dataclass
class Watch:
    """What must hold of one service all night."""

    starts: list[float] = field(default_factory=list)
    forgiven: list[float] = field(default_factory=list)
    """When the budget began anew: the operator edited agent.toml, or the host was rebooted."""

    def start(self, at: float, recovery: Recovery) -> None:
        """Take note of a start that the agent asked for. Raises BrokenPromiseError."""
        self.starts.append(at)
        since = at - HOUR
        recent = [t for t in self.starts if t > since]
        renewals = sum(t > since for t in self.forgiven)
        if len(recent) > recovery.max_starts_per_hour * (1 + renewals):
            raise BrokenPromiseError(f"restarts: {len(recent)} starts within an hour")


def check_limits(used: Settings, policy: ServicePolicy) -> None:
    """No setting that the agent chose is beyond its limits. Raises BrokenPromiseError."""
    asked, recovery = policy.settings, policy.recovery
    utilization = used.gpu_memory_utilization or default_utilization(None)
    wanted = asked.gpu_memory_utilization or default_utilization(None)
    if used.gpu_memory_utilization != asked.gpu_memory_utilization and not (
        min(recovery.min_gpu_memory_utilization, wanted) - 1e-9
        <= utilization
        <= max(recovery.max_gpu_memory_utilization, wanted) + 1e-9
    ):
        raise BrokenPromiseError(f"limits: gpu_memory_utilization {utilization}")
    floors = {
        "max_model_len": recovery.min_max_model_len,
        "max_num_seqs": recovery.min_max_num_seqs,
        "max_num_batched_tokens": recovery.min_max_num_batched_tokens,
    }
    for name, floor in floors.items():
        value = getattr(used, name)
        if value != getattr(asked, name) and (value is None or value < floor):
            raise BrokenPromiseError(f"limits: {name} {value} is below its floor {floor}")
    if used.enforce_eager != asked.enforce_eager and not recovery.allow_enforce_eager:
        raise BrokenPromiseError("limits: enforce_eager was not allowed")


def is_about_the_run(observation: Observation) -> bool:
    """Tell whether it names the run that it is about, so that it can be stale."""
    return getattr(observation, "invocation_id", "") != ""
