# SPDX-License-Identifier: Apache-2.0
"""A host in virtual time: systemd's units and engines, driven by decide's actions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.core.codec import decode, encode
from agent.core.decide import decide
from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.numbers import Numbers
from agent.core.diagnosis.reader import Diagnosis
from agent.core.engine.command_line import command_line
from agent.core.engine.install import Engine
from agent.core.engine.metrics import Counters
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.hub.cache import CacheFacts
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Canary, LookAtCache, ReadLog, Reap, Start, Stop, Verify
from agent.core.state.host import Decision, HostState, News
from agent.core.state.observations import (
    ActionDone,
    AgentStarted,
    ApiSeen,
    CacheSeen,
    CanaryDone,
    ConfigLoaded,
    LogConcluded,
    LogProgress,
    Observation,
    Tick,
    UnitSeen,
    Verified,
)
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.core.state.service import ServiceState
from agent.core.state.transitions import TRANSITIONS
from agent.core.state.unit import UnitFacts
from agent.core.verify.check import Check
from tests.given.simulated_engine import Card, computed, diagnosis_of, failure_at_start

ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)

COMPLETE = CacheFacts("/var/lib/vllm/huggingface/hub", free_bytes=1 << 40)


@dataclass
class Run:
    """One process of the engine."""

    invocation: str
    settings: Settings
    ready_at: float
    fails: tuple[FailureClass, Numbers] | None
    work: float = 0.0
    hung: bool = False
    said_ready: bool = False


@dataclass
class SimulatedHost:
    """Carries actions out at once and shows their results in the next step of virtual time."""

    policies: dict[str, ServicePolicy]
    card: Card = field(default_factory=Card)
    start_takes: float = 40.0
    now: float = 1_000_000.0
    boot: str = "boot-1"
    booted_at: float = 0.0
    state: HostState = field(default_factory=HostState)
    history: list[News] = field(default_factory=list)
    starts: list[tuple[float, str, Settings]] = field(default_factory=list)
    units: dict[str, UnitFacts] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    ended: dict[str, Diagnosis] = field(default_factory=dict)
    hub_cache: CacheFacts = COMPLETE
    lose_actions: Callable[[Action], bool] = lambda _action: False
    on_action: Callable[[Action], None] = lambda _action: None
    checks: tuple[Check, ...] = ()
    metrics_are_silent: bool = False
    cores: float | None = None
    """What each run uses of the processor, as systemd counts it; None: it does not count."""
    undead: bool = False
    load: Callable[[float], Counters] = lambda work: Counters(running=1, generation_tokens=work)
    _pending: list[Action] = field(default_factory=list)
    _invocations: int = 0

    @property
    def policy(self) -> HostPolicy:
        return HostPolicy(self.policies, dict.fromkeys(self.policies, ENGINE))

    def service(self, name: str = "vllm") -> ServiceState:
        return self.state.services[name]

    # --- the agent ---

    def agent_starts(self) -> None:
        """A new agent process: only what was recorded is left of the old one."""
        remembered = tuple(self.state.services.values())
        recorded = json.dumps(encode(remembered, frozenset({"live"})))
        services = [decode(ServiceState, entry) for entry in json.loads(recorded)]
        self._pending.clear()
        self.state = replace(self.state, services={s.name: s for s in services})
        self.observe(AgentStarted(self.now, self.boot, booted_at=self.booted_at))
        self.observe(ConfigLoaded(self.now, reload=False))
        self.see_units()

    def reload(self) -> None:
        self.observe(ConfigLoaded(self.now, reload=True))

    def observe(self, observation: Observation) -> Decision:
        before = self.state
        decision = decide(before, observation, self.policy)
        self._check_transitions(before, decision)
        self.state = decision.state
        self.history.extend(decision.news)
        self._pending.extend(decision.actions)
        return decision

    def _check_transitions(self, before: HostState, decision: Decision) -> None:
        entered: dict[str, Phase] = {name: s.phase for name, s in before.services.items()}
        for line in decision.news:
            if "phase" not in line.data:
                continue
            new = Phase(str(line.data["phase"]))
            old = entered.get(line.service, Phase.WAITING)
            assert old is new or (old, new) in TRANSITIONS, f"{old} -> {new}: {line.message}"
            entered[line.service] = new
        for name, s in decision.state.services.items():
            assert entered.get(name, Phase.WAITING) is s.phase, f"{name} changed phase untold"

    def carry_out(self) -> None:
        while self._pending:
            action = self._pending.pop(0)
            self.on_action(action)
            if not self.lose_actions(action):
                self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Start():
                self._end(action.service)
                self._begin(action.service, action.settings)
                done = ActionDone(self.now, action.service, action.action_id, succeeded=True)
                self.see_units()
                self.observe(done)
            case Stop():
                self._end(action.service)
                before = self.units.get(action.service, UnitFacts("inactive", "dead"))
                left = before.leftovers
                self.units[action.service] = UnitFacts("inactive", "dead", leftovers=left)
                self.see_units()
            case Reap():
                if not self.undead:
                    unit = self.units[action.service]
                    self.units[action.service] = replace(unit, leftovers=())
                self.see_units()
            case ReadLog():
                said = self.ended.get(
                    action.invocation_id,
                    diagnosis_of(None, Numbers(), EnginePhase.SERVING),
                )
                self.observe(LogConcluded(self.now, action.service, action.invocation_id, said))
            case LookAtCache():
                self.observe(CacheSeen(self.now, action.service, self.hub_cache))
            case Verify():
                run = self.runs.get(action.service)
                answered = run is not None and not run.hung
                self.observe(
                    Verified(self.now, action.service, action.invocation_id, self.checks, answered)
                )
            case Canary():
                run = self.runs.get(action.service)
                answered = run is not None and not run.hung
                self.observe(
                    CanaryDone(self.now, action.service, action.invocation_id, answered, 1.0)
                )

    # --- systemd and the engine ---

    def _begin(self, service: str, settings: Settings) -> None:
        self._invocations += 1
        invocation = f"{self._invocations:032x}"
        fails = failure_at_start(self.card, settings)
        takes = self.start_takes / 2 if fails else self.start_takes
        self.runs[service] = Run(invocation, settings, self.now + takes, fails)
        self.starts.append((self.now, service, settings))
        self.units[service] = UnitFacts(
            "active",
            "running",
            main_pid=4000 + self._invocations,
            invocation_id=invocation,
            command_line=command_line(settings, ENGINE),
        )

    def _end(self, service: str) -> None:
        self.runs.pop(service, None)

    def dies(
        self,
        failure: FailureClass | None,
        numbers: Numbers | None = None,
        service: str = "vllm",
        status: int = 0,
        result: str = "success",
    ) -> None:
        """The engine ends by itself: with Restart=always the unit then waits for its restart."""
        run = self.runs.pop(service)
        serving = self.now >= run.ready_at
        phase = EnginePhase.SERVING if serving else EnginePhase.LOADING
        self.ended[run.invocation] = diagnosis_of(failure, numbers or Numbers(), phase)
        self.units[service] = replace(
            self.units[service],
            active_state="activating",
            sub_state="auto-restart",
            main_pid=0,
            exec_main_status=status,
            result=result,
        )
        self.see_units()

    def hangs(self, service: str = "vllm") -> None:
        self.runs[service].hung = True

    def operator_stops(self, service: str = "vllm") -> None:
        self._end(service)
        self.units[service] = replace(
            self.units[service], active_state="inactive", sub_state="dead", main_pid=0
        )
        self.see_units()

    def operator_starts(self, service: str = "vllm") -> None:
        s = self.state.services[service]
        settings = s.running or self.policies[service].settings
        self._begin(service, settings)
        self.see_units()

    def reboots(self) -> None:
        self.boot += "'"
        self.runs.clear()
        self.units.clear()
        self.agent_starts()

    def see_units(self) -> None:
        for service in self.policies:
            unit = self.units.get(service, UnitFacts("inactive", "dead"))
            self.observe(UnitSeen(self.now, service, unit))

    # --- time ---

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += step
            if self.cores is not None:
                self.units |= computed(self.units, tuple(self.runs), self.cores * step)
                self.see_units()
            self._engines_move(step)
            self.observe(Tick(self.now, self.now % 86400))
            self.carry_out()

    def _engines_move(self, step: float) -> None:
        for service, run in tuple(self.runs.items()):
            if run.fails is not None and self.now >= run.ready_at:
                self.dies(*run.fails, service=service, status=1)
                continue
            if run.hung:
                if self.now >= run.ready_at:
                    self._see_api(service, run)
                continue
            if self.now < run.ready_at:
                self._see_log(service, run, EnginePhase.LOADING)
            else:
                if not run.said_ready:
                    run.said_ready = True
                    self._see_log(service, run, EnginePhase.SERVING)
                run.work += step
                self._see_api(service, run)

    def _see_log(self, service: str, run: Run, phase: EnginePhase) -> None:
        activity = int(self.now)
        self.observe(LogProgress(self.now, service, run.invocation, phase, activity, None, Facts()))

    def _see_api(self, service: str, run: Run) -> None:
        counters = self.load(run.work)
        if self.metrics_are_silent:
            self.observe(ApiSeen(self.now, service, run.invocation, False, None, "timed out"))
            return
        self.observe(ApiSeen(self.now, service, run.invocation, True, counters))

    def serving_within(self, seconds: float, service: str = "vllm") -> bool:
        end = self.now + seconds
        while self.now < end:
            if self.service(service).phase is Phase.SERVING:
                return True
            self.pass_time(1.0)
        return self.service(service).phase is Phase.SERVING
