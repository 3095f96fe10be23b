# SPDX-License-Identifier: Apache-2.0
"""The plan before the first start: what cannot fit is held with its arithmetic, not tried.

Only a configuration that never served is planned, and only one that no learned setting within its
limits could make fit, with every estimate off in the good direction, is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from agent.core.command.parallel import parallel_of
from agent.core.command.picture import picture_of
from agent.core.gpu.reading import Gpu
from agent.core.judges.cards.looks import A_LOOK
from agent.core.judges.holders.processes import known
from agent.core.judges.turn import Turn
from agent.core.measures import GIB
from agent.core.planner.advice import advice_for
from agent.core.planner.asked.capability import Capability, capability_of
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.earlier.start import FROM_CACHE, EarlierStart, from_cache_of, plan_after
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, Measured, Plan, PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.planner.versions import version_of
from agent.core.record import dataclass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Settings
from agent.core.state.held import Held, HeldBy
from agent.core.state.learned import Planned, Proven
from agent.core.state.phases import Phase
from agent.core.state.policy import KnownModel
from agent.core.state.service import ServiceState

LOOK_SECONDS = 3.0


def keeps_off(turn: Turn, s: ServiceState) -> Held | None:
    """Return why a service that its plan holds stays held, None where it may go on.

    It is held once, when it is planned: who starts it by hand may try.
    """
    mine = s.phase is Phase.HELD and s.held is not None and s.held.by is HeldBy.PLAN
    return s.held if mine and _is_hopeless(turn, s) else None


def plan_and_learn(turn: Turn) -> None:
    """Plan what was never started and hold what cannot fit; keep what those that serve print."""
    for s in tuple(turn.services.values()):
        if s.name in turn.policy.services and not s.foreign:
            turn.put(_judge(turn, s))


def look_for_the_plan(turn: Turn, s: ServiceState) -> str:
    """Let a start that can be planned wait for the first look at the GPUs, a moment at most."""
    plannable = _has_a_sum(turn, s) and not _is_proven(turn, s)
    if turn.gpus is None and plannable and turn.at - turn.started_at < LOOK_SECONDS:
        return f"{A_LOOK}, to plan"
    return ""


def _judge(turn: Turn, s: ServiceState) -> ServiceState:
    match s.phase:
        case Phase.WAITING if s.asked is None and not _is_proven(turn, s):
            return _before_start(turn, s)
        case Phase.SERVING if s.live.facts is not None:
            return _remember(turn, s)
        case _:
            return s


def _is_proven(turn: Turn, s: ServiceState) -> bool:
    return s.proven is not None and s.proven.settings == s.learned.unmeasured(turn.effective(s))


def _before_start(turn: Turn, s: ServiceState) -> ServiceState:
    settings = turn.effective(s)
    if s.planned is not None and s.planned.settings == settings:
        return s
    plan = _plan(turn, s)
    if plan is None:
        return s
    advice = advice_for(turn.policy.models[s.name].model, plan)
    s = replace(s, planned=Planned(settings, plan.verdict, plan.reason, advice))
    if _is_hopeless(turn, s):
        return turn.hold(s, _held(plan, advice))
    first = f"; if it fails: {advice[0]}" if advice and plan.verdict is not Fit.FITS else ""
    turn.tell(s.name, "plan", f"plan: {plan.verdict.value}: {plan.reason}{first}")
    return s


def _held(plan: Plan, advice: tuple[str, ...]) -> Held:
    why = f"the plan says that it cannot start: {plan.reason}"
    do = "; or ".join(advice[:2]) or "Use another model or a larger GPU"
    do = f"{do}. Or set recovery.try_anyway = true."
    return Held(HeldBy.PLAN, why, do, until="the plan has changed")


def _remember(turn: Turn, s: ServiceState) -> ServiceState:
    """Keep what vLLM printed of a start that serves: later plans begin with it."""
    facts, running = s.live.facts, s.running
    if facts is None or running is None or facts.available_kv_gib is None:
        return s
    running = s.learned.unmeasured(running)
    was, version = s.proven, turn.policy.engines[s.name].version
    same = was if was and (was.settings, was.version) == (running, version) else None
    # What a start from the cache prints is what later ones print: it stands for them.
    if same and (facts.compiled_graphs != FROM_CACHE or same.compiled_graphs == FROM_CACHE):
        return s
    proven = Proven(
        settings=running,
        weights_gib=facts.weights_gib,
        available_kv_gib=facts.available_kv_gib,
        least_kv_gib=facts.least_kv_gib,
        cuda_graph_gib=facts.cuda_graph_gib,
        compiled_graphs=facts.compiled_graphs or "",
        version=version,
        gpu_name=next((card.name for card in _cards(turn, running)), ""),
        gpu_memory_gib=_smallest(_cards(turn, running)),
        at=turn.at,
    )
    return replace(s, proven=proven)


def _is_hopeless(turn: Turn, s: ServiceState) -> bool:
    """Tell whether no setting within the limits of recovery makes the configuration fit."""
    recovery = turn.policy_of(s).recovery
    plan = None if recovery.try_anyway else _plan(turn, s)
    if plan is None:
        return False
    best = make_plan(turn.policy.models[s.name].model, _kindest(plan.request, plan, recovery))
    too_heavy = best.lightest_gib > best.request.gpu_memory_gib
    short = best.high_gib < best.needed_kv_gib
    return best.verdict is Fit.DOES_NOT_FIT and (too_heavy or short)


def _kindest(request: PlanRequest, plan: Plan, recovery: Recovery) -> PlanRequest:
    """Return what recovery could bring the settings to, each in the direction that saves memory."""
    return replace(
        request,
        gpu_memory_utilization=max(request.utilization, recovery.max_gpu_memory_utilization),
        max_model_len=min(plan.max_model_len, recovery.min_max_model_len),
        max_num_seqs=min(plan.batch.sequences, recovery.min_max_num_seqs),
        max_num_batched_tokens=min(plan.batch.tokens, recovery.min_max_num_batched_tokens),
        enforce_eager=request.enforce_eager or recovery.allow_enforce_eager,
    )


def _plan(turn: Turn, s: ServiceState) -> Plan | None:
    """Return the plan on the service's own cards, None where too little is known for one."""
    settings = turn.effective(s)
    if not _has_a_sum(turn, s):
        return None
    cards = _cards(turn, settings)
    # On unified memory the page cache moves the result by GiB from start to start: no plan holds.
    if any(card.memory is None or card.memory_unified for card in cards):
        return None
    picture = picture_of(settings, turn.policy.option_files.get(s.name))
    size = _smallest(cards)
    if size is None or len(cards) < max(1, parallel_of(picture).gpus):
        return None
    known_model = turn.policy.models[s.name]
    version = turn.policy.engines[s.name].version
    ground = _Ground(known_model, size, cards[0].name, version, _lowest(cards))
    try:
        request = _request(turn, s, settings, ground)
        return plan_after(known_model.model, request, _earlier(turn, s, ground))
    except UnknownQuantizationError:
        return None


@dataclass(frozen=True, slots=True)
class _Ground:
    """What a service is planned on: its model, its smallest card, and its engine."""

    model: KnownModel
    gpu_memory_gib: float
    gpu_name: str
    version: str | None
    capability: Capability | None


def _request(turn: Turn, s: ServiceState, settings: Settings, on: _Ground) -> PlanRequest:
    """Return what is asked of a start with these settings; raises UnknownQuantizationError."""
    request = PlanRequest(
        gpu_memory_gib=on.gpu_memory_gib,
        version=version_of(on.version),
        files_gib=on.model.files_gib,
        gpu_name=on.gpu_name,
    )
    ground = Ground(request, capability=on.capability, draft=on.model.draft)
    picture = picture_of(settings, turn.policy.option_files.get(s.name))
    return request_of(picture, on.model.model, ground)


def _earlier(turn: Turn, s: ServiceState, now: _Ground) -> EarlierStart | None:
    """Return the last start that served, where it was of the model that is planned."""
    proven, settings = s.proven, turn.effective(s)
    if proven is None or proven.gpu_memory_gib is None:
        return None
    if (proven.settings.model, proven.settings.revision) != (settings.model, settings.revision):
        return None
    then = replace(
        now,
        gpu_memory_gib=proven.gpu_memory_gib,
        gpu_name=proven.gpu_name,
        version=proven.version,
    )
    printed = Measured(
        weights_gib=proven.weights_gib,
        available_kv_gib=proven.available_kv_gib,
        cuda_graph_gib=proven.cuda_graph_gib,
    )
    when = datetime.fromtimestamp(proven.at, UTC).date().isoformat()
    printed = replace(printed, from_cache=from_cache_of(proven.compiled_graphs))
    return EarlierStart(_request(turn, s, proven.settings, then), printed, when)


def _cards(turn: Turn, settings: Settings) -> tuple[Gpu, ...]:
    gpus = known(turn.gpus)
    return () if gpus is None else tuple(gpus.used_by(settings.gpus))


def _smallest(cards: Sequence[Gpu]) -> float | None:
    """Return the GiB of the smallest card, None where none is told."""
    sizes = [card.memory.usable_bytes for card in cards if card.memory is not None]
    return min(sizes) / GIB if sizes else None


def _lowest(cards: Sequence[Gpu]) -> Capability | None:
    told = [capability_of(card.compute_capability) for card in cards]
    return min((one for one in told if one is not None), default=None)


def _has_a_sum(turn: Turn, s: ServiceState) -> bool:
    """Tell whether the model is known and lies on GPUs."""
    return s.name in turn.policy.models and not turn.policy.engines[s.name].runs_on_cpu
