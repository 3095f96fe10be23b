# SPDX-License-Identifier: Apache-2.0
"""The deciding thread: observation in, decision recorded, actions out, snapshot published."""

from __future__ import annotations

import contextlib
import math
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from agent.config.agent_toml import load
from agent.core.guard import Guard, as_shown, guarded, place_of, set_aside
from agent.core.measures import DAY_SECONDS
from agent.core.record import dataclass
from agent.core.settings.changes import changes
from agent.core.settings.config import Config
from agent.core.state.actions import Action
from agent.core.state.host import Decision, HostState, News
from agent.core.state.observations import (
    AgentStarted,
    ConfigLoaded,
    ConfigRefused,
    LogConcluded,
    Observation,
    Tick,
)
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.core.view.kinds import LOUD
from agent.daemon.clock import Clock, booted_at, seconds_since_midnight
from agent.daemon.log import about, log
from agent.daemon.policy_loader import policy_of, with_engines_now
from agent.daemon.recorder import Recorder
from agent.daemon.refusal import take_refusal
from agent.errors import ConfigError
from agent.host.machine.reading_mark import ReadingMark
from agent.host.systemd import notify

TICK_SECONDS = 1.0
CURSOR_SECONDS = 30.0
PRUNE_SECONDS = DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Reload:
    """The operator wants agent.toml read again (SIGHUP)."""


@dataclass(frozen=True, slots=True)
class Quit:
    """The agent shall end (SIGTERM); with `again`, only to start anew in the same process."""

    again: bool = False


Message = Observation | Reload | Quit


class Loop:
    """Owns the state; everything else only sends messages or reads what is published."""

    def __init__(
        self,
        messages: queue.SimpleQueue[Message],
        recorder: Recorder,
        config_file: Path,
        config: Config,
        clock: Clock,
        submit: Callable[[Action], None],
        publish: Callable[[HostState, HostPolicy, tuple[str, ...]], Mapping[str, str]],
        watch: Callable[[HostState], None],
        cursors: Callable[[], dict[str, str]],
        mark: ReadingMark,
        unread: tuple[str, ...],
    ) -> None:
        self._messages = messages
        self._recorder = recorder
        self._config_file = config_file
        self._config = config
        self._mark = mark
        self._policy = policy_of(config, mark)
        self._clock = clock
        self._submit = submit
        self._publish = publish
        self._watch = watch
        self._cursors = cursors
        self._state, self._problems = recorder.load()
        if mark.left:
            why = f"the last process of llmagent ended while it read {mark.left}"
            self._problems += (f"{why}: left out until agent.toml is read again",)
        self._problems += unread
        self._guard = Guard()
        self._failing = ""
        self._told_failures: frozenset[str] = frozenset()
        self._config_mistakes: tuple[str, ...] = ()
        self._cursors_at = self._prune_at = self._alive_at = 0.0
        # Four times within what systemd waits: often enough, and a message each second is not free.
        self._alive_seconds = (notify.watchdog_interval_seconds() or math.inf) / 4
        self._told_status = ""
        self._watching = False

    def begin(self, boot_id: str, mistakes: tuple[str, ...], *, reinstalled: bool) -> None:
        """Take over what the last process of the agent left, then the configuration."""
        for problem in self._problems:
            self._carry_out(Decision(self._state, (), (News("", "damaged", problem),)))
        orderly = self._recorder.was_stopped()
        now, began = self._clock(), booted_at(self._clock)
        self._handle(AgentStarted(now, boot_id, reinstalled, orderly, began))
        self._handle(ConfigLoaded(self._clock(), reload=False))
        if mistakes:
            self._config_mistakes = mistakes
            self._handle(ConfigRefused(self._clock(), mistakes))

    def run(self) -> bool:
        """Handle messages until told to quit; returns whether to start anew."""
        tick_at = time.monotonic()
        while True:
            match message := self._next(tick_at):
                case Quit():
                    self._recorder.stopped()
                    return message.again
                case Reload():
                    self._reload()
                case Tick():
                    tick_at = time.monotonic() + TICK_SECONDS
                    if _starts_soon(self._state, message.at):
                        self._look_at_engines()
                    self._handle(message)
                    self._keep_house(message.at)
                    self._show_life()
                case _:
                    if isinstance(message, LogConcluded):
                        self._look_at_engines()
                    self._handle(message)

    def _next(self, tick_at: float) -> Message:
        """Return the next message, or a tick when one is due: a flood must not stop time."""
        left = tick_at - time.monotonic()
        if left > 0:
            with contextlib.suppress(queue.Empty):
                return self._messages.get(timeout=left)
        return Tick(self._clock(), seconds_since_midnight())

    def _handle(self, observation: Observation) -> None:
        decision, self._guard = guarded(self._state, observation, self._policy, self._guard)
        self._carry_out(decision)

    def _carry_out(self, decision: Decision) -> None:
        with self._beside("who is to be told of it is not told"):
            decision = self._with_what_is_told(decision)
        old, self._state = self._state, decision.state
        with self._beside("what was decided is not recorded"):
            self._recorder.record(old, decision.state, decision.news, time.time())
        for line in decision.news:
            say = log.warning if line.kind in LOUD else log.info
            say(line.message, extra=about(line.service, kind=line.kind))
        if not self._watching or old.services.keys() != self._state.services.keys():
            with self._beside("not all of it is watched"):
                self._watching = False  # until it was done whole
                self._watch(self._state)
                self._watching = True
        # No net here: an action that was not taken up is waited for. The next process decides anew.
        for action in decision.actions:
            self._submit(action)
        self._show()

    @contextlib.contextmanager
    def _beside(self, what: str) -> Iterator[None]:
        """Let what goes on beside a decision fail without an end to what looks after services."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the net of `guarded`, for what is not decided
            if (failing := f"{what}: {place_of(error)}") not in self._told_failures:
                self._told_failures |= {failing}
                log.error(f"{failing}; report it as a fault")

    def _with_what_is_told(self, decision: Decision) -> Decision:
        notify = self._policy.notify
        if not notify.anybody and decision.state.outbox is None:
            return decision
        from agent.core.telling.post import told  # for who tells somebody: memory

        return told(decision, notify, self._clock(), seconds_since_midnight())

    def _show(self) -> None:
        """Publish; a service that cannot be shown is set aside, and the others are shown."""
        shown = as_shown(self._state, self._guard)
        try:
            unshown = self._publish(shown, self._policy, self._config_mistakes)
        # As for a decision: what cannot be shown must not end what looks after the services.
        except Exception as error:  # noqa: BLE001
            if self._failing != (failing := place_of(error)):
                log.error(f"the status cannot be published: {failing}; report it as a fault")
            self._failing = failing
            return
        self._failing = ""
        fresh = [name for name in unshown if name not in self._guard.aside]
        for name in fresh:
            self._guard = set_aside(self._guard, name, unshown[name], self._clock())
        if fresh:
            news = (News(name, "held", self._guard.aside[name].why) for name in fresh)
            self._carry_out(Decision(self._state, (), tuple(news)))

    def _look_at_engines(self) -> None:
        """Notice that vLLM was upgraded in place before the next start is decided."""
        policy = with_engines_now(self._config, self._policy)
        if policy != self._policy:
            self._policy = policy
            self._handle(ConfigLoaded(self._clock(), reload=False))

    def _reload(self) -> None:
        notify.reloading()
        try:
            config = _load_unless_refused(self._config_file)
        except ConfigError as error:
            self._config_mistakes = error.mistakes
            self._handle(ConfigRefused(self._clock(), error.mistakes))
        else:
            differences = changes(self._config, config) or ("agent.toml was read: nothing changed",)
            self._config, self._config_mistakes = config, ()
            self._recorder.keep_config(self._config_file)
            self._mark.left = ""  # the operator has had a look at it
            self._policy = policy_of(config, self._mark)
            self._handle(ConfigLoaded(self._clock(), reload=True, changes=differences))
        notify.ready(self._status())

    def _status(self) -> str:
        services = self._state.services.values()
        shown = (f"{s.name}: {s.phase.value}{' (paused)' if s.pause else ''}" for s in services)
        told = ", ".join(shown) or "no service configured"
        return f"paused; {told}" if self._state.pause else told

    def _show_life(self) -> None:
        now = time.monotonic()
        if now >= self._alive_at:
            self._alive_at = now + self._alive_seconds
            notify.watchdog()

    def _keep_house(self, now: float) -> None:
        status = self._status()
        if status != self._told_status:
            self._told_status = status
            notify.status(status)
        if now >= self._cursors_at:
            self._cursors_at = now + CURSOR_SECONDS
            self._recorder.record(self._state, self._state, (), time.time(), self._cursors())
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_SECONDS
            self._recorder.prune()


def _load_unless_refused(file: Path) -> Config:
    if refused := take_refusal():
        raise ConfigError(str(file), refused)
    return load(file)


def _starts_soon(state: HostState, at: float) -> bool:
    """Tell whether a start may be decided before the next tick."""
    by_then = at + TICK_SECONDS
    return any(s.phase is Phase.WAITING and s.retry_at <= by_then for s in state.services.values())
