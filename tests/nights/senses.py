# SPDX-License-Identifier: Apache-2.0
"""llmagent's deciding and its sources in a night: what it is told, and when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from agent.core.decide import decide
from agent.core.diagnosis.facts import Facts
from agent.core.engine.metrics import Counters, EngineCounters
from agent.core.gpu.reading import Gpu, GpuMemory, Gpus
from agent.core.settings.notify import Notify
from agent.core.settings.service import ServicePolicy
from agent.core.state.actions import Action, Canary
from agent.core.state.host import Decision, HostState
from agent.core.state.observations import (
    ApiSeen,
    CanaryDone,
    GpusSeen,
    LogProgress,
    Observation,
    UnitSeen,
)
from agent.core.state.policy import HostPolicy
from agent.core.state.steering.asked import OperatorAsked
from agent.core.state.steering.requests import (
    Request,
)
from agent.core.state.telling.outbox import Message
from agent.core.state.telling.sending import Send, Sent
from agent.core.state.unit import UnitFacts
from agent.core.telling.post import told
from tests.nights.engine import Run
from tests.nights.ground import ENGINE
from tests.nights.promises import check_history, is_about_the_run
from tests.nights.world import World

SEEN_SECONDS = 0.02
NOTIFY = Notify(urls_file="/etc/llmagent/notify.urls")
FACTS = Facts()
GIB = 2**30


class Senses:
    """Observes the world and decides; what is decided is the child's to do.

    `state` is what the agent knows, `is_blind` whether the journal is gone, `repeats` while it is
    told again what it was told before.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = world.clock
        self.state = HostState()
        self.policies: dict[str, ServicePolicy] = {}
        self.up = False
        self._life = 0
        self._tick_at = self._ticked_at = 0.0
        self.is_blind = False
        self._dies_acting = self._is_stale = False
        self.repeats = self._acted_before = False
        self._loses = ""
        self._mismatched: set[str] = set()
        self._news: deque[tuple[Observation, bool]] = deque(maxlen=12)
        """What may be told again, and whether it led to actions."""
        self._gpus_due = False
        self.mails: dict[int, Message] = {}
        """What a person was told, by the message's number."""
        self.asked: dict[int, Request] = {}
        """What an operator has asked for, by the number of the request."""

    def decided(self, before: HostState, decision: Decision) -> None:
        """Hear of each decision that does or says something."""
        raise NotImplementedError

    def seen(self, service: str, unit: UnitFacts) -> None:
        """Hear of each reading of a unit, before it is decided upon."""

    def _soon(self, seconds: float, do: Callable[[], None]) -> None:
        """Do it in a while, unless this process of the agent is dead then."""
        life = self._life

        def unless_dead() -> None:
            if self.up and self._life == life:
                do()

        self.clock.after(seconds, unless_dead)

    def observe(self, observation: Observation) -> None:
        if not self.up:
            return
        before = self.state
        engines = dict.fromkeys(self.policies, ENGINE)
        decision = decide(before, observation, HostPolicy(self.policies, engines))
        check_history(before, decision)
        whole = told(decision, NOTIFY, self.clock.now, self.clock.now % 86400.0)
        self.state = whole.state
        for action in whole.actions[len(decision.actions) :]:
            self._soon(1.0, partial(self._sent, action))
        if self.world.tell is not None:
            self._tell(observation, decision)
        if any(line.kind == "adopted" for line in decision.news):
            # A run that is taken (back) is judged from its beginning: what was heard of it is new.
            self._news.clear()
        if self._is_stale and not self.repeats and is_about_the_run(observation):
            self._news.append((observation, bool(decision.actions)))
        if decision.news or decision.actions:
            self.decided(before, decision)

    def _sent(self, action: Action) -> None:
        if isinstance(action, Send):
            self.mails[action.message.number] = action.message
            self.world.say(f"  message: {action.message.title}")
            self.observe(Sent(self.clock.now, action.message.number, sent=True))

    def operator_asks(self, request: Request) -> None:
        if self.up:
            number = len(self.asked) + 1
            self.asked[number] = request
            at = self.clock.now
            self.observe(OperatorAsked(at, number, request, "root", at % 86400.0))

    def _tell(self, observation: Observation, decision: Decision) -> None:
        for line in decision.news:
            self.world.say(f"  {line.service or 'llmagent'}: {line.kind}: {line.message}")
        for action in decision.actions:
            if isinstance(action, Canary):
                continue  # one every five minutes all night
            self.world.say(f"    -> {type(action).__name__} (on {type(observation).__name__})")

    # --- sources ---

    def unit_changed(self, service: str) -> None:
        self._soon(SEEN_SECONDS, lambda: self._see_unit(service))

    def _see_unit(self, service: str) -> None:
        unit = self.world.unit(service)
        self.seen(service, unit)
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

    def engine_moves(self, run: Run) -> None:
        self._see_api(run.service)

    def _see_api(self, service: str) -> None:
        run = self.world.runs.get(service)
        if run is None or not run.ready:
            return
        now, invocation = self.clock.now, run.invocation
        if run.deaf:
            self.observe(ApiSeen(now, service, invocation, False, None, "timed out"))
            return
        busy = run.rate > 0 or run.stuck
        embeds = self.world.shape == "embedding"
        counters = Counters(
            running=int(busy),
            waiting=400 if run.queued else 0,
            prompt_tokens=run.work(now) if embeds else 0.0,
            generation_tokens=0.0 if embeds else run.work(now),
            asleep=run.asleep,
            engines=_engines(run, now, self.world.shape),
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


def in_the_queue(run: Run, action: Canary, shape: str) -> bool:
    """Tell whether a one-token request waits for others: the second of two engines has none."""
    return run.queued and not (shape == "two engines" and action.engines == ("1",))


def as_the_front_end_says(run: Run | None, action: Canary, done: CanaryDone) -> CanaryDone:
    """Return the end of a one-token request as it is told: refused, or missed by one engine."""
    if run is not None and run.alive and run.refuses:
        return replace(done, answered=False, refused=True, detail=run.refuses)
    label = "0" if run is None else run.hung_label
    missed = () if done.answered else (label,) * (label in action.engines)
    return replace(done, missed=missed)


def _engines(run: Run, now: float, shape: str) -> dict[str, EngineCounters]:
    """Return what each engine shows where there are two; the second one is given no work."""
    if run.half_stuck:
        return _halves(run, now)
    if shape != "two engines":
        return {}
    busy = run.rate > 0 or run.stuck
    return {
        "0": EngineCounters(running=int(busy), pulse=(run.work(now),)),
        "1": EngineCounters(pulse=(3.0,)),
    }


def _halves(run: Run, now: float) -> dict[str, EngineCounters]:
    """Return what two engines show of which one hangs with its requests."""
    hangs, works = (run.hung_label, "0" if run.hung_label == "1" else "1")
    return {
        hangs: EngineCounters(running=8, waiting=300, pulse=(7.0,)),
        works: EngineCounters(running=int(run.rate > 0), pulse=(run.work(now),)),
    }
