# SPDX-License-Identifier: Apache-2.0
"""llmagent in a night: the pure core with everything around it played in virtual time.

What the daemon's sources, lanes and store do is done here in the same order: decisions are
recorded before actions are carried out, results come back as observations, and a kill -9 loses what
was not recorded.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from agent.core.actions import (
    Action,
    Canary,
    FollowLog,
    LockClocks,
    ReadLog,
    Reap,
    SetPersistenceMode,
    SetPowerLimit,
    Start,
    Stop,
    Verify,
    WriteUnit,
)
from agent.core.check import Check, Verdict
from agent.core.codec import decode, encode
from agent.core.decide import decide
from agent.core.facts import Facts
from agent.core.failures import NEVER_A_FAILURE, EnginePhase, Outcome
from agent.core.gpu import Gpu, GpuMemory, Gpus
from agent.core.numbers import Numbers
from agent.core.observations import (
    ActionDone,
    AgentStarted,
    ApiSeen,
    CanaryDone,
    ConfigLoaded,
    ConfigRefused,
    GpusSeen,
    LogConcluded,
    LogProgress,
    Observation,
    Tick,
    UnitSeen,
    Verified,
)
from agent.core.settings import ServicePolicy
from agent.core.state import Decision, HostPolicy, HostState, ServiceState
from agent.core.vllm_metrics import Counters
from agent.core.vocabulary import Phase
from tests.nights.due import next_tick
from tests.nights.engine import Run
from tests.nights.promises import check_history, is_about_the_run
from tests.nights.watcher import Watcher
from tests.nights.world import ENGINE, World
from tests.unit.simulated_engine import diagnosis_of

SEEN_SECONDS = 0.02
READ_SECONDS = 0.2
RESTART_SECONDS = 2.0
"""After this long systemd has started a killed agent again."""
POLL_SECONDS = 100.0
"""While nothing happens: often enough that moving tokens are seen before they are missed."""
FACTS = Facts()
GIB = 2**30
WRONG = Check("linear_kernel", "marlin", "another", Verdict.CONTRADICTED, "the line that shows it")


class LlmAgent:
    """Keeps the world's services by what decide says; `state` is what the agent knows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = world.clock
        self.state = HostState()
        self.policies: dict[str, ServicePolicy] = {}
        self.up = False
        self.watcher = Watcher(world, self)
        self._life = 0
        self._tick_at = 0.0
        self.is_blind = False
        """Whether the journal is gone."""
        self._dies_acting = self._is_stale = False
        self._loses = ""
        self._mismatched: set[str] = set()
        self._news: deque[Observation] = deque(maxlen=12)
        self._gpus_due = False

    def begin(self) -> None:
        """A new agent process: only what was recorded is left of the old one."""
        self.up = True
        self._life += 1
        recorded = json.dumps(encode(tuple(self.state.services.values()), frozenset({"live"})))
        services = [decode(ServiceState, entry) for entry in json.loads(recorded)]
        self.state = replace(self.state, services={s.name: s for s in services}, gpus=None)
        self.policies = dict(self.world.policies)
        self.observe(AgentStarted(self.clock.now, self.world.boot))
        self.observe(ConfigLoaded(self.clock.now, reload=False))
        self._see_gpus()
        for service in self.policies:
            self._see_unit(service)
            run = self.world.runs.get(service)
            if run is not None:
                self.engine_moved(run)
            self._soon(1.0, partial(self._poll, service))
        self._soon(0.0, self._tick)

    def _soon(self, seconds: float, do: Callable[[], None]) -> None:
        """Do it in a while, unless this process of the agent is dead then."""
        life = self._life

        def unless_dead() -> None:
            if self.up and self._life == life:
                do()

        self.clock.after(seconds, unless_dead)

    # --- deciding ---

    def observe(self, observation: Observation) -> None:
        if not self.up:
            return
        before = self.state
        engines = dict.fromkeys(self.policies, ENGINE)
        decision = decide(before, observation, HostPolicy(self.policies, engines))
        check_history(before, decision)
        self.state = decision.state
        if self.world.tell is not None:
            self._tell(observation, decision)
        if self._is_stale and is_about_the_run(observation):
            self._news.append(observation)
        if decision.news or decision.actions:
            self.watcher.decided(before, decision)
            self._act(decision)

    def _tell(self, observation: Observation, decision: Decision) -> None:
        for line in decision.news:
            self.world.say(f"  {line.service or 'llmagent'}: {line.kind}: {line.message}")
        for action in decision.actions:
            if isinstance(action, Canary):
                continue  # one every five minutes all night
            self.world.say(f"    -> {type(action).__name__} (on {type(observation).__name__})")

    def _act(self, decision: Decision) -> None:
        if self._dies_acting and any(isinstance(a, Start | Stop) for a in decision.actions):
            self._dies_acting = False
            self._die()
            return
        for action in decision.actions:
            self._soon(SEEN_SECONDS, partial(self._carry_out, action))
        if next_tick(self.state, self.policies, self.clock.now) < self._tick_at:
            self._plan_tick()
        if self._is_stale:
            for old in tuple(self._news):
                self._news.clear()
                self.observe(replace(old, at=self.clock.now))

    def _plan_tick(self) -> None:
        at = self._tick_at = next_tick(self.state, self.policies, self.clock.now)

        def due() -> None:
            if self._tick_at == at:
                self._tick()

        self._soon(at - self.clock.now, due)

    def _tick(self) -> None:
        self._tick_at = 0.0
        self.observe(Tick(self.clock.now))
        for service, s in self.state.services.items():
            unit = self.world.unit(service)
            if s.phase is not Phase.SERVING or unit != s.live.unit:
                self.observe(UnitSeen(self.clock.now, service, unit))
        if self.up:
            self._plan_tick()

    # --- effectors ---

    def _carry_out(self, action: Action) -> None:
        match action:
            case Start() | Stop() if self._loses:
                loses, self._loses = self._loses, ""
                if loses != "silently":
                    self._done(action, ran=False, detail="the bus did not answer")
            case Start():
                self.watcher.carried_out(action.service)
                self.world.start(
                    action.service, action.settings, lambda ran: self._job_ended(action, ran=ran)
                )
            case Stop():
                self.world.stop(
                    action.service,
                    kill=action.kill,
                    done=lambda ran: self._job_ended(action, ran=ran),
                )
            case WriteUnit():
                self.world.disk[action.service] = action.settings
            case FollowLog():
                run = self.world.runs.get(action.service)
                if run is not None:
                    self.engine_moved(run)
            case ReadLog():
                if not self.is_blind:
                    self._soon(READ_SECONDS, lambda: self._conclude(action))
            case Verify():
                self._verify(action)
            case Canary():
                self._ask_for_one_token(action)
            case Reap() | SetPowerLimit() | LockClocks() | SetPersistenceMode():
                pass  # nothing is left over, and nothing of the card is asked for

    def _job_ended(self, action: Start | Stop, *, ran: bool) -> None:
        self._soon(SEEN_SECONDS, lambda: self._done(action, ran=ran, detail=""))

    def _done(self, action: Start | Stop, *, ran: bool, detail: str) -> None:
        canceled = not ran and not detail
        self.observe(
            ActionDone(self.clock.now, action.service, action.action_id, ran, canceled, detail)
        )

    def _conclude(self, action: ReadLog) -> None:
        doom = self.world.dooms.get(action.invocation_id)
        phase = self.world.doomed_in.get(action.invocation_id, EnginePhase.SERVING)
        said = diagnosis_of(
            doom.failure if doom is not None else None,
            doom.numbers if doom is not None else Numbers(),
            phase,
        )
        if said.failure in NEVER_A_FAILURE:
            said = replace(said, outcome=Outcome.STOPPED)
        self.observe(LogConcluded(self.clock.now, action.service, action.invocation_id, said))

    def _verify(self, action: Verify) -> None:
        run = self._present(action.service, action.invocation_id)
        answered = run is not None and run.alive
        checks = (WRONG,) if action.service in self._mismatched else ()
        seconds = 2.0 if answered or run is None else 30.0

        def done() -> None:
            self.observe(
                Verified(
                    self.clock.now, action.service, action.invocation_id, checks, answered, "late"
                )
            )

        self._soon(seconds, done)

    def _ask_for_one_token(self, action: Canary) -> None:
        def answers() -> bool:
            run = self._present(action.service, action.invocation_id)
            return run is not None and run.alive and not run.silent and not run.queued

        there = self._present(action.service, action.invocation_id) is not None
        seconds = action.deadline_seconds if there and not answers() else 0.3

        def done() -> None:
            self._see_api(action.service)
            service, invocation, answered = action.service, action.invocation_id, answers()
            self.observe(
                CanaryDone(self.clock.now, service, invocation, answered, seconds, "no answer")
            )

        self._soon(seconds, done)

    def _present(self, service: str, invocation: str) -> Run | None:
        run = self.world.runs.get(service)
        return run if run is not None and run.invocation == invocation else None

    # --- sources ---

    def unit_changed(self, service: str) -> None:
        self._soon(SEEN_SECONDS, lambda: self._see_unit(service))

    def _see_unit(self, service: str) -> None:
        unit = self.world.unit(service)
        self.watcher.unit_seen(service, unit)
        self.observe(UnitSeen(self.clock.now, service, unit))

    def engine_moved(self, run: Run) -> None:
        self._soon(0.3, lambda: self._see_log(run))
        if run.ready:
            self._soon(0.5, lambda: self._see_api(run.service))

    def _see_log(self, run: Run) -> None:
        if not self.is_blind:
            self.observe(
                LogProgress(
                    self.clock.now,
                    run.service,
                    run.invocation,
                    run.phase,
                    run.activity,
                    None,
                    FACTS,
                )
            )

    def _poll(self, service: str) -> None:
        self._see_api(service)
        s = self.state.services.get(service)
        quiet = s is None or s.phase not in (Phase.STARTING, Phase.VERIFYING)
        self._soon(POLL_SECONDS if quiet else 5.0, lambda: self._poll(service))

    def _see_api(self, service: str) -> None:
        run = self.world.runs.get(service)
        if run is None or not run.ready:
            return
        now, invocation = self.clock.now, run.invocation
        if run.silent:
            self.observe(ApiSeen(now, service, invocation, False, None, "timed out"))
            return
        busy = run.rate > 0 or run.stuck
        counters = Counters(
            running=int(busy),
            waiting=400 if run.queued else 0,
            generation_tokens=run.work(now),
        )
        self.observe(ApiSeen(now, service, invocation, True, counters))

    def memory_changed(self) -> None:
        if not self._gpus_due:
            self._gpus_due = True
            self._soon(0.5, self._see_gpus)

    def _see_gpus(self) -> None:
        self._gpus_due = False
        world = self.world
        total = int(world.total * GIB)
        free = max(0, int(world.free_for("") * GIB))
        gpu = Gpu(0, "GPU-0", lost=world.card_is_lost, memory=GpuMemory(total, total - free, free))
        self.observe(GpusSeen(self.clock.now, Gpus(self.clock.now, (gpu,))))

    # --- the operator, and troubles of the agent's own ---

    def edited(self, service: str) -> None:
        if self.up:
            self.policies = dict(self.world.policies)
            self.watcher.edited(service)
            self.observe(ConfigLoaded(self.clock.now, reload=True))

    def refused_edit(self) -> None:
        self.observe(ConfigRefused(self.clock.now, ("service.vllm.port: no such port",)))

    def rebooted(self) -> None:
        self.up = False
        self._life += 1
        self.watcher.rebooted()
        self.begin()

    def killed(self, *, acting: bool) -> None:
        if acting:
            self._dies_acting = True
        elif self.up:
            self._die()

    def _die(self) -> None:
        self.world.say("kill -9 of llmagent")
        self.up = False
        self._gpus_due = False
        life = self._life

        def again() -> None:
            if self._life == life and self.world.up:
                self.begin()

        self.clock.after(RESTART_SECONDS, again)

    def loses_an_action(self, *, silently: bool) -> None:
        self._loses = "silently" if silently else "with an error"

    def journal_gone(self, *, gone: bool) -> None:
        self.is_blind = gone
        if not gone:
            for run in self.world.runs.values():
                self.engine_moved(run)

    def stale_news(self, *, on: bool) -> None:
        self._is_stale = on

    def mismatch(self, service: str, *, on: bool) -> None:
        (self._mismatched.add if on else self._mismatched.discard)(service)
