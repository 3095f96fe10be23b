# SPDX-License-Identifier: Apache-2.0
"""Before a start: is the model complete in the hub's cache, and the fetch of what is missing.

A fetch runs apart from the service in a unit of its own, which outlives the agent. Its state is
read again and again, so that a lost signal or a restart of the agent costs time and nothing else.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import FailureClass
from agent.core.hub.cache import CacheFacts, prefetched
from agent.core.hub.progress import FetchState
from agent.core.judges.start import fetch_failures
from agent.core.judges.turn import Turn
from agent.core.state.actions import Fetch, LookAtCache, StopFetch
from agent.core.state.observations import ActionDone, CacheSeen, FetchSeen
from agent.core.state.phases import Phase
from agent.core.state.service import NO_LIVE_FETCH, ServiceState
from agent.core.state.unit import UnitFacts

LOOK_SECONDS = 20.0
"""A cache that cannot be read in this time (a network disk that hangs) is vLLM's to wait for."""

START_SECONDS = 60.0
"""After this long without a word a start of the fetch is asked for again."""

SPACE_SECONDS = 10.0
"""How often a disk that was too full is looked at again."""

NO_HUB_LIBRARY = 3
"""The exit status of agent.fetch where the service's Python has no huggingface_hub."""


def model_is_here(turn: Turn, s: ServiceState) -> bool:
    """Tell whether nothing is to be fetched before the service may start."""
    return s.fetch.satisfied or not prefetched(turn.policy_of(s).settings)


def is_looking(turn: Turn, s: ServiceState) -> bool:
    """Tell whether the service waits only for a look into the cache, which takes no time."""
    asked = s.live.fetch.looked_at
    return s.phase is Phase.WAITING and bool(asked) and turn.at - asked < 1.0


def go_on(turn: Turn) -> None:
    """Take the next step of every service that may need a fetch."""
    for s in tuple(turn.services.values()):
        if s.name not in turn.policy.services or s.foreign:
            continue
        match s.phase:
            case Phase.WAITING if _is_due(turn, s):
                turn.put(_before_a_start(turn, s))
            case Phase.FETCHING:
                turn.put(_watch(turn, s))
            case Phase.HELD if s.held is not None and s.held.wants_bytes:
                turn.put(_look(turn, s) if _looked_long_ago(turn, s) else s)
            case _:
                pass


def _is_due(turn: Turn, s: ServiceState) -> bool:
    due = s.asked is None and s.live.unit is not None and turn.at >= s.retry_at
    return due and turn.pause_of(s) is None


def _looked_long_ago(turn: Turn, s: ServiceState) -> bool:
    return turn.at - s.live.fetch.looked_at >= SPACE_SECONDS


def _look(turn: Turn, s: ServiceState) -> ServiceState:
    turn.do(LookAtCache(s.name, turn.effective(s)))
    live = replace(s.live.fetch, looked_at=turn.at, cache=None)
    return replace(s, live=replace(s.live, fetch=live))


def _before_a_start(turn: Turn, s: ServiceState) -> ServiceState:
    """Look into the cache once, and fetch what it lacks."""
    settings = turn.policy_of(s).settings
    if not prefetched(settings):
        return s
    model = " ".join(filter(None, (settings.model, settings.revision, settings.tokenizer)))
    if s.fetch.model != model:
        s = replace(s, fetch=FetchState(model))
    if s.fetch.satisfied:
        return s
    live = s.live.fetch
    if not live.looked_at:
        return _look(turn, s)
    if live.cache is not None:
        return _after_the_look(turn, s, live.cache)
    if turn.at - live.looked_at < LOOK_SECONDS:
        return s
    return _without(turn, s, "the hub's cache does not answer")


def _after_the_look(turn: Turn, s: ServiceState, cache: CacheFacts) -> ServiceState:
    if cache.problem:
        return _without(turn, s, cache.problem)
    if _wanted_more(s) and not s.fetch.online:
        s = replace(s, fetch=replace(s.fetch, online=True))
        return _begin(turn, s, "offline vLLM did not find all that it wants")
    if cache.complete and not s.learned.refetch:
        return replace(s, fetch=replace(s.fetch, satisfied=True))
    return _begin(turn, s, s.learned.refetch or cache.lacks)


def _wanted_more(s: ServiceState) -> bool:
    """Tell whether the last run ended as it was not allowed to ask the hub."""
    failure = s.failure
    if failure is None or failure.failure is not FailureClass.HUB_OFFLINE:
        return False
    return failure.at >= s.started_at


def _without(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    """Start without a fetch: vLLM can download by itself, and may know better."""
    turn.tell(s.name, "fetch", f"{why}: vLLM is started without a fetch")
    return replace(s, fetch=replace(s.fetch, satisfied=True))


def _begin(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    model = turn.policy_of(s).settings.model
    s = turn.enter(s, Phase.FETCHING, "fetch", f"fetch {model}: {why}")
    return _ask(turn, replace(s, live=replace(s.live, blocked_by="")))


def _ask(turn: Turn, s: ServiceState) -> ServiceState:
    action_id = turn.take_id()
    engine, repair = turn.policy.engines[s.name], bool(s.learned.refetch)
    turn.do(Fetch(s.name, action_id, turn.effective(s), engine, repair=repair))
    fetch = replace(s.fetch, action_id=action_id, asked_at=turn.at)
    live = replace(s.live, fetch=replace(NO_LIVE_FETCH, last_output_at=turn.at))
    return replace(s, fetch=fetch, live=live, held=None)


def on_cache(turn: Turn, s: ServiceState, seen: CacheSeen) -> ServiceState:
    """Take note of what is in the cache; a held service goes on once there is room."""
    s = replace(s, live=replace(s.live, fetch=replace(s.live.fetch, cache=seen.cache)))
    wanted = s.held.wants_bytes if s.held is not None else 0
    if s.phase is not Phase.HELD or not wanted or seen.cache.free_bytes < wanted:
        return s
    return start_over(turn, s, f"there is room now in {seen.cache.directory}: go on")


def looked_no_more(s: ServiceState) -> ServiceState:
    """Forget what was found in the cache: it is looked at again before the next start."""
    return replace(s, live=replace(s.live, fetch=NO_LIVE_FETCH))


def start_over(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    """Look at the cache anew and go on from there."""
    s = turn.enter(s, Phase.WAITING, "fetch", why)
    return replace(
        s,
        fetch=replace(s.fetch, action_id=0),
        live=replace(s.live, fetch=NO_LIVE_FETCH),
        held=None,
        retry_at=turn.at,
    )


def on_started(turn: Turn, s: ServiceState, done: ActionDone) -> ServiceState:
    """Take note that the fetch runs; what the unit shows from now on is of this run."""
    s = replace(s, fetch=replace(s.fetch, action_id=0, asked_at=done.at))
    if s.phase is not Phase.FETCHING or done.succeeded:
        return s
    s = turn.enter(s, Phase.WAITING, "fetch", f"the fetch cannot be started: {done.detail}")
    return _without(turn, replace(s, retry_at=turn.at), done.detail)


def stop_fetch(turn: Turn, s: ServiceState) -> ServiceState:
    """Stop the fetch of a service that goes on without."""
    turn.do(StopFetch(s.name))
    return replace(s, fetch=replace(s.fetch, action_id=0))


def on_fetch(turn: Turn, s: ServiceState, seen: FetchSeen) -> ServiceState:
    """Judge a reading of the fetch's unit, and what its program said."""
    if s.phase is not Phase.FETCHING or s.fetch.action_id or seen.at < s.fetch.asked_at:
        return s
    s = _note_output(turn, s, seen)
    unit = seen.unit
    if _runs(unit):
        return s
    if unit.active_state == "active":
        return _complete(turn, s)
    if unit.active_state == "failed" and seen.diagnosis is not None:
        if unit.exec_main_status == NO_HUB_LIBRARY:
            settings = turn.policy_of(s).settings
            where = settings.engine.image or settings.python
            s = turn.enter(s, Phase.WAITING, "fetch", f"{where} has no huggingface_hub")
            return _without(turn, replace(s, retry_at=turn.at), s.reason)
        return fetch_failures.judge(turn, s, unit, seen.diagnosis)
    if unit.active_state == "inactive":
        why = f"the fetch was stopped by the operator; `systemctl start {s.name}` goes on"
        return turn.enter(s, Phase.STOPPED, "stopped", why)
    return s


def _runs(unit: UnitFacts) -> bool:
    return unit.active_state in {"activating", "deactivating", "reloading"} or (
        unit.active_state == "active" and unit.sub_state != "exited"
    )


def _note_output(turn: Turn, s: ServiceState, seen: FetchSeen) -> ServiceState:
    live = s.live.fetch
    done = seen.progress.done if seen.progress is not None else 0
    output = (done, seen.lines)
    live = replace(
        live,
        plan=seen.plan,
        progress=seen.progress,
        began=done if live.began is None and seen.progress is not None else live.began,
        last_output=output,
        last_output_at=live.last_output_at if output == live.last_output else turn.at,
    )
    return replace(s, live=replace(s.live, fetch=live))


def _complete(turn: Turn, s: ServiceState) -> ServiceState:
    progress = s.live.fetch.progress
    size = f" ({progress})" if progress is not None else ""
    seconds = turn.at - s.since
    why = f"start: the model is complete{size}, fetched in {seconds:.0f} s"
    s = start_over(turn, s, why)
    return replace(
        s,
        learned=replace(s.learned, refetch=""),
        fetch=replace(s.fetch, satisfied=True, attempts=0),
    )


def _watch(turn: Turn, s: ServiceState) -> ServiceState:
    """Ask again for a start that came to nothing, and end a fetch that has stalled."""
    if s.fetch.action_id:
        lost = not s.live.fetch.last_output_at or turn.at - s.fetch.asked_at >= START_SECONDS
        return _ask(turn, s) if lost else s
    if not s.live.fetch.last_output_at:
        live = replace(s.live.fetch, last_output_at=turn.at)
        return replace(s, live=replace(s.live, fetch=live))
    silent = turn.at - s.live.fetch.last_output_at
    if silent < turn.policy_of(s).recovery.download_stall_seconds:
        return s
    turn.do(StopFetch(s.name))
    return fetch_failures.stalled(turn, s, silent)
