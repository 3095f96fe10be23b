# SPDX-License-Identifier: Apache-2.0
"""Back up: once a night, when nothing is asked of it, a service tries a little more again.

Off unless [service.NAME.recovery] names a window. What fails is taken back and left for a week.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.engine.defaults import default_utilization
from agent.core.failures.classes import FailureClass
from agent.core.judges.cards import fitness
from agent.core.judges.driver import mismatch as driver_match
from agent.core.judges.driver.mismatch import mismatch
from agent.core.judges.holders import shares as sharing
from agent.core.judges.turn import Turn
from agent.core.measures import DAY_SECONDS, HOUR_SECONDS
from agent.core.remedy import kv_bytes, utilization
from agent.core.remedy.case import SHARED_MARGIN, Bound
from agent.core.remedy.ladders import LADDERS
from agent.core.remedy.peaks import ROUND_LEN
from agent.core.settings.service import Tunable
from agent.core.state.learned import NightTrial, Override
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.core.unit.text import override_note

NIGHT_SECONDS = 20 * HOUR_SECONDS
"""One trial a night: the next is at the earliest this long after the last."""

WEEK_SECONDS = 7 * DAY_SECONDS
FRESH_SECONDS = 60.0
"""How old the counters may be that say that nothing runs and nothing waits."""

SMALL_STEPS = ("gpu_memory_utilization", "kv_cache_memory_bytes")


def on_tick(turn: Turn, s: ServiceState, local_seconds: float | None) -> ServiceState:
    """Try one learned setting a step nearer to what was asked, when it is time for that."""
    policy = turn.policy.services.get(s.name)
    if policy is None or not s.learned.overrides or local_seconds is None:
        return s
    cluster = policy.settings.cluster
    if cluster is not None and not cluster.is_head:
        return s  # one host tries, for all
    window = policy.recovery.probe_window
    if window is None or not window.holds(local_seconds) or not _is_idle(turn, s):
        return s
    if driver_match.mismatch(turn.gpus) or fitness.unfit(turn, s) is not None:
        return s  # it would not come up again
    if any(turn.at - probe.at < NIGHT_SECONDS for probe in s.learned.probes.values()):
        return s
    for setting, learned in s.learned.overrides.items():
        if learned.measured:
            continue  # no failure taught it: there is nothing to win
        refused = s.learned.probes.get(setting)
        if refused is not None and turn.at < refused.not_before:
            continue
        step = _step(turn, s, setting, learned)
        if step is not None:
            return _probe(turn, s, setting, learned, step)
    return s


def _is_idle(turn: Turn, s: ServiceState) -> bool:
    counters, unit = s.live.counters, s.live.unit
    return (
        s.phase is Phase.SERVING
        and s.settled
        and s.asked is None
        and turn.pause_of(s) is None
        and unit is not None
        and not unit.foreign
        and counters is not None
        and turn.at - s.live.counters_at < FRESH_SECONDS
        and counters.running + counters.waiting == 0
        and not mismatch(turn.gpus)
    )


def _step(turn: Turn, s: ServiceState, setting: str, learned: Override) -> NightTrial | None:
    """Return the next value towards what was asked; None where there is nothing to win or no room.

    A learned value above the asked one costs nothing, so that it stays.
    """
    asked = learned.asked
    if setting == "gpu_memory_utilization" and asked is None:
        asked = default_utilization(turn.policy.engines[s.name].version)
    if isinstance(learned.running, bool) or asked is None:
        return NightTrial(learned, None, turn.at)
    if learned.running >= asked:
        return None
    value = _nearer(turn, s, setting, learned.running, asked)
    if not _is_possible(turn, s, setting, value):
        return None
    return NightTrial(learned, None if value == learned.asked else value, turn.at)


def _nearer(turn: Turn, s: ServiceState, setting: str, running: float, asked: float) -> Tunable:
    match setting:
        case "gpu_memory_utilization":
            step = turn.policy_of(s).recovery.gpu_memory_utilization_step
            return min(max(utilization.floor2(running + step), round(running + 0.01, 2)), asked)
        case "kv_cache_memory_bytes":
            step = max(int(asked) // 20, kv_bytes.ROUND_BYTES)
            return min(int(running) + step, int(asked))
        case "max_model_len":
            half = (int(running) + int(asked)) // 2 // ROUND_LEN * ROUND_LEN
            return half if half > running else int(asked)
        case _:
            return min(2 * int(running), int(asked))


def _is_possible(turn: Turn, s: ServiceState, setting: str, value: float) -> bool:
    """Tell whether the value stays below what failed, and leaves the others on the card theirs.

    What was refused because the memory was not free may fit by now: only NVML knows.
    """
    if setting not in SMALL_STEPS:
        return True
    too_high = s.learned.bounds.get(setting, Bound()).too_high
    if too_high is not None and value >= too_high:
        return False
    if setting != utilization.NAME:
        return True
    others = sharing.neighbours_of(turn, s)
    room = sharing.room_of(turn, s)
    left = 1.0 if room is None else room
    return value <= left - (SHARED_MARGIN + sum(others.values()) if others else 0.0)


def _probe(
    turn: Turn, s: ServiceState, setting: str, learned: Override, probe: NightTrial
) -> ServiceState:
    overrides = {name: item for name, item in s.learned.overrides.items() if name != setting}
    tried = learned.asked if probe.value is None else probe.value
    if probe.value is not None:
        why = f"a trial, after {learned.running} held: {learned.why}"
        overrides[setting] = Override(learned.asked, probe.value, turn.at, why)
    shown = "the default" if tried is None else tried
    why = f"trial in the maintenance window: {setting} {learned.running} -> {shown}"
    s = turn.enter(s, Phase.WAITING, "probe", why)
    return replace(
        s,
        learned=replace(
            s.learned, overrides=overrides, probes={**s.learned.probes, setting: probe}
        ),
        retry_at=turn.at,
        last_down_at=turn.at,  # its own memory may still be in use when it starts again
        settled=False,
    )


def on_settled(turn: Turn, s: ServiceState) -> ServiceState:
    """Keep what was tried once it has served for long enough."""
    for setting, probe in s.learned.probes.items():
        if not probe.over:
            tried = probe.before.asked if probe.value is None else probe.value
            shown = "the default" if tried is None else tried
            turn.tell(s.name, "probed", f"{setting} {shown} holds: it stays")
    over = {name: replace(probe, over=True) for name, probe in s.learned.probes.items()}
    return replace(s, learned=replace(s.learned, probes=over))


def after_failure(turn: Turn, s: ServiceState, failure: FailureClass) -> ServiceState | None:
    """Take a trial back that ended as settings do that ask too much; None when none was made."""
    trials = {name: probe for name, probe in s.learned.probes.items() if not probe.over}
    if not trials or failure not in LADDERS:
        return None
    restored = {name: probe.before for name, probe in trials.items()}
    for name, probe in trials.items():
        note = override_note(name, probe.before.asked, probe.before.running, probe.before.why)
        turn.tell(s.name, "probed", f"{failure.value}: the trial is taken back for 7 days: {note}")
    refused = {
        name: replace(probe, over=True, not_before=turn.at + WEEK_SECONDS)
        for name, probe in trials.items()
    }
    learned = replace(
        s.learned,
        overrides={**s.learned.overrides, **restored},
        probes={**s.learned.probes, **refused},
    )
    return replace(s, learned=learned)
