# SPDX-License-Identifier: Apache-2.0
"""llmagent in a night: the pure core with everything around it played in virtual time.

What the daemon's sources, lanes and store do is done here in the same order: decisions are
recorded before actions are carried out, results come back as observations, and a kill -9 loses what
was not recorded.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

from agent.core.codec import decode, encode
from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import EnginePhase, Outcome
from agent.core.failures.meaning import NEVER_A_FAILURE
from agent.core.state.actions import (
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
from agent.core.state.host import Decision, HostState
from agent.core.state.observations import (
    ActionDone,
    AgentStarted,
    CanaryDone,
    ConfigLoaded,
    ConfigRefused,
    LogConcluded,
    Tick,
    UnitSeen,
    Verified,
)
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.core.state.steering.asked import Answer
from agent.core.state.unit import UnitFacts
from agent.core.verify.check import Check, Verdict
from tests.given.simulated_engine import diagnosis_of
from tests.nights.due import next_tick
from tests.nights.engine import Run
from tests.nights.promises import check_repeated
from tests.nights.senses import SEEN_SECONDS, Senses, as_the_front_end_says, in_the_queue
from tests.nights.watcher import Watcher
from tests.nights.world import World

READ_SECONDS = 0.2
RESTART_SECONDS = 2.0
"""After this long systemd has started a killed agent again."""
WRONG = Check("linear_kernel", "marlin", "another", Verdict.CONTRADICTED, "the line that shows it")


class LlmAgent(Senses):
    """Keeps the world's services by what decide says."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.watcher = Watcher(world, self)

    def begin(self) -> None:
        """A new agent process: only what was recorded is left of the old one."""
        self.up = True
        self._life += 1
        self._news.clear()
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
        self._soon(0.0, self._tick)

    def seen(self, service: str, unit: UnitFacts) -> None:
        self.watcher.unit_seen(service, unit)

    def decided(self, before: HostState, decision: Decision) -> None:
        if self._acted_before:
            check_repeated(decision)
        self.watcher.decided(before, decision)
        self._act(decision)

    def _act(self, decision: Decision) -> None:
        if self._dies_acting and any(isinstance(a, Start | Stop) for a in decision.actions):
            self._dies_acting = False
            self._die()
            return
        for action in decision.actions:
            self._soon(SEEN_SECONDS, partial(self._carry_out, action))
        if self._next_tick(self.clock.now) < self._tick_at:
            self._plan_tick()
        if self._is_stale and not self.repeats:
            self._repeat_old_news()

    def _repeat_old_news(self) -> None:
        for old, led_to_actions in tuple(self._news):
            self.repeats = True
            self._acted_before = led_to_actions
            self.observe(replace(old, at=self.clock.now))
        self.repeats = self._acted_before = False

    def _next_tick(self, after: float) -> float:
        runs = self.world.runs.values()
        moving = (r for r in runs if r.ready and not r.stuck and r.rate > 0 and not r.silent)
        busy = frozenset(r.service for r in moving)
        return next_tick(self.state, self.policies, after, busy)

    def _plan_tick(self) -> None:
        at = self._tick_at = self._next_tick(self.clock.now)
        self._soon(at - self.clock.now, lambda: self._tick_if_due(at))

    def _tick_if_due(self, planned: float) -> None:
        if self._tick_at != planned:
            return
        # What it was planned for may have moved on: tokens were made, a log line was read.
        for service in self.policies:
            self._see_api(service)
        at = self._next_tick(self._ticked_at)
        if at <= self.clock.now:
            self._tick()
            return
        self._tick_at = at
        self._soon(at - self.clock.now, lambda: self._tick_if_due(at))

    def _tick(self) -> None:
        self._tick_at = 0.0
        self._ticked_at = self.clock.now
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
            case Answer() | Reap() | SetPowerLimit() | LockClocks() | SetPersistenceMode():
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
        refused = run.refuses if run is not None and run.ready else ""
        answered = run is not None and run.works
        checks = (WRONG,) if action.service in self._mismatched else ()
        seconds = 2.0 if answered or run is None else 30.0

        def done() -> None:
            self.observe(
                Verified(
                    self.clock.now,
                    action.service,
                    action.invocation_id,
                    checks,
                    answered,
                    "late",
                    refused,
                )
            )

        self._soon(seconds, done)

    def _ask_for_one_token(self, action: Canary) -> None:
        def answers() -> bool:
            run = self._present(action.service, action.invocation_id)
            if run is None or run.deaf or in_the_queue(run, action, self.world.shape):
                return False
            return run.alive or (run.half_stuck and run.hung_label not in action.engines)

        there = self._present(action.service, action.invocation_id) is not None
        seconds = action.deadline_seconds if there and not answers() else 0.3

        def done() -> None:
            self._see_api(action.service)
            service, invocation, answered = action.service, action.invocation_id, answers()
            done = CanaryDone(self.clock.now, service, invocation, answered, seconds, "no answer")
            self.observe(as_the_front_end_says(self._present(service, invocation), action, done))

        self._soon(seconds, done)

    def _present(self, service: str, invocation: str) -> Run | None:
        run = self.world.runs.get(service)
        return run if run is not None and run.invocation == invocation else None

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
