# SPDX-License-Identifier: Apache-2.0
"""The plan: every GiB of a GPU named, and whether a start with these settings succeeds."""

from __future__ import annotations

import math
from dataclasses import replace

from agent.core.command.values import AUTO
from agent.core.engine.defaults import batch_of
from agent.core.engine.names import dtype_bytes
from agent.core.measures import GIB
from agent.core.planner.asked.apply import (
    as_cached,
    as_loaded,
    offloaded,
    on_one_replica,
    with_drafter,
)
from agent.core.planner.kv import kv_of
from agent.core.planner.model import Model
from agent.core.planner.overheads import Term, host_share, non_torch
from agent.core.planner.pool import Kv
from agent.core.planner.question import Fit, Measured, Plan, PlanRequest
from agent.core.planner.refusals import doubt_of, refusal_of
from agent.core.planner.terms.activation import activation, sampled_later
from agent.core.planner.terms.compiled import compiling, left_behind
from agent.core.planner.terms.graphs import cuda_graphs
from agent.core.planner.terms.kernels import kernels_of
from agent.core.planner.terms.runner import (
    as_run,
    graphs_inside,
    holding_items,
    profiles_items,
    steps_in_flight,
)
from agent.core.planner.verdict import verdict_of
from agent.core.planner.versions import Version
from agent.core.planner.weights import Weights, counted


def make_plan(model: Model, request: PlanRequest) -> Plan:
    """Return the plan.

    Raises UnknownQuantizationError when the weights cannot be counted and are not given.
    """
    if request.max_model_len == AUTO:
        return _longest(model, request)
    version, length = request.version, request.max_model_len or model.max_position
    asked = request.asked
    whole = replace(model, dtype_bytes=_dtype_bytes(model, request))
    model = as_loaded(whole, asked)
    plain = batch_of(
        version.release,
        request.device,
        length,
        request.max_num_batched_tokens,
        request.max_num_seqs,
    )
    batch = holding_items(plain, model, version, asked=bool(request.max_num_batched_tokens))
    known, when = request.measured, request.measured.when
    run = as_run(model, request.quantization)
    weights = _measured(known.weights_gib, when) or weights_of(whole, request)
    tp = request.tensor_parallel_size
    peak = _measured(known.activation_gib, when) or activation(
        *(run, batch, version, tp, length),
        spread=asked.whole_experts,
        drafts=asked.draft_tokens > 0,
        widened=asked.widened,
    )
    contexts = _measured(known.non_torch_gib, when) or _contexts(run, request, peak)
    graphs = _measured(known.cuda_graph_gib, when) or cuda_graphs(
        model,
        batch.sequences,
        version,
        enforce_eager=request.enforce_eager or model.encoder_only,
        stages=request.pipeline_parallel_size,
        asked=asked.captured,
        spread=asked.whole_experts,
    )
    steps = steps_in_flight(
        run, version, request.pipeline_parallel_size, overlapped=asked.overlapped
    )
    drafting = with_drafter(model, asked)
    kv = as_cached(kv_of(drafting, request, steps * batch.tokens), asked)
    checked = kv
    if version.checks_whole_model and request.pipeline_parallel_size > 1:
        alone = replace(request, pipeline_parallel_size=1)
        checked = as_cached(kv_of(drafting, alone, steps * batch.tokens), asked)
    budget = request.utilization * request.gpu_memory_gib
    inside = graphs if graphs_inside(run, version) else None
    states = kv.state_bytes * batch.sequences / GIB
    beside = [item.term for item in asked.beside if not (item.is_loaded and known.weights_gib)]
    taken = weights.gib + peak.gib + contexts.gib + states + (inside.gib if inside else 0.0)
    available = budget - taken - sum(term.gib for term in beside)
    error = _root(weights, peak, contexts, inside, *beside)
    if request.kv_cache_memory_bytes is not None:
        available, error = request.kv_cache_memory_bytes / GIB, 0.0
    elif known.available_kv_gib is not None:
        available, error = known.available_kv_gib, 0.1
        if known.from_cache is False and not request.enforce_eager:
            more = compiling(run, version)
            available, error = available + more.gib, _root(Term(0.0, error, ""), more)
    elif known.correction is not None:
        available, error = available + known.correction.gib, known.correction.error_gib
    if asked.gpu_blocks is not None:
        available = min(available, asked.gpu_blocks * kv.block_bytes / GIB)
    if not model.known:
        # What such a family keeps is not known: no figure but one that vLLM printed is given.
        available, error = max(0.0, available), min(error, budget)
    pool = max(0.0, available) * GIB if model.known else 0.0
    concurrency = 0.0 if model.encoder_only else kv.concurrency(pool, length)
    if math.isinf(concurrency):
        # Nothing grows with a request: its states are kept beside the pool, for each of these.
        concurrency = float(batch.sequences)
    draft = Plan(
        verdict=Fit.FITS,
        reason="",
        architecture=model.architecture,
        known=model.known,
        encoder_only=model.encoder_only,
        refusal=asked.refusal or refusal_of(model, request, batch, kv),
        doubt=doubt_of(model, request, batch, kv),
        model_tokens=model.max_position,
        request=request,
        batch=batch,
        weights=weights,
        activation=peak,
        non_torch=contexts,
        cuda_graphs=graphs,
        sampled_later_gib=sampled_later(run, batch, version),
        profiles_images=version.v1 and model.encoder is not None and profiles_items(run, version),
        graphs_inside=inside is not None,
        budget_gib=budget,
        available_kv_gib=available,
        error_gib=error,
        needed_kv_gib=checked.request_bytes(length) / GIB,
        max_model_len=length,
        kv=kv,
        kv_tokens=_printed_tokens(kv, pool, length, concurrency, version),
        max_concurrency=concurrency,
        largest_max_model_len=checked.longest(pool, model.max_position),
    )
    verdict, reason = verdict_of(draft)
    if when:
        reason = f"{reason}; measured here on {when}{_compiled(known)}"
    return replace(draft, verdict=verdict, reason=reason)


def _compiled(known: Measured) -> str:
    if known.from_cache is None or known.available_kv_gib is None:
        return ""
    return ", from its compile cache" if known.from_cache else " while it compiled, as it need not"


def _dtype_bytes(model: Model, request: PlanRequest) -> int:
    asked = (request.dtype or "auto").lower()
    return model.dtype_bytes if asked == "auto" else dtype_bytes(asked) or model.dtype_bytes


def _contexts(model: Model, request: PlanRequest, peak: Term) -> Term:
    """Return what lies beside PyTorch's allocator; unified memory adds the host's share."""
    tp, pp = request.tensor_parallel_size, request.pipeline_parallel_size
    own = non_torch(tp, pp, request.device, request.version)
    card, eager = request.device.name, request.enforce_eager
    left = left_behind(model, request.version, peak.gib, enforce_eager=eager, card=card)
    for more in (None if model.encoder_only else left, host_share(request.device)):
        if more is not None:
            how = f"{own.how}; {more.gib:.1f} GiB: {more.how}"
            own = Term(own.gib + more.gib, _root(own, more), how)
    return own


def _measured(gib: float | None, when: str) -> Term | None:
    how = f"measured here on {when}" if when else "as vLLM printed at an earlier start here"
    return None if gib is None else Term(gib, 0.05, how)


def _longest(model: Model, request: PlanRequest) -> Plan:
    """Return the plan for the longest context that fits, as vLLM takes it for auto.

    It fits where a shorter one would fit with every estimate off in the bad direction.
    """
    whole = make_plan(model, replace(request, max_model_len=None))
    longest = whole.largest_max_model_len
    if not longest:
        return whole
    chosen = make_plan(model, replace(request, max_model_len=longest))
    shorter = chosen.kv.longest(max(0.0, chosen.low_gib) * GIB, model.max_position)
    if chosen.verdict is not Fit.TIGHT or not shorter:
        return chosen
    sure = make_plan(model, replace(request, max_model_len=shorter))
    if sure.verdict is not Fit.FITS:
        return chosen
    reason = f"a context of about {longest} tokens, {shorter} where every estimate is off"
    return replace(chosen, verdict=Fit.FITS, reason=reason)


def weights_of(model: Model, request: PlanRequest) -> Term:
    """Return the weights of one GPU as they are loaded; those given are taken as they are.

    Raises UnknownQuantizationError when they cannot be counted.
    """
    asked = request.asked
    if asked.refusal:
        # What vLLM refuses may have no size; it is shown as the checkpoint is.
        request = replace(request, quantization=None)
    whole = _weights(model, request)
    lean = on_one_replica(as_loaded(model, asked), asked)
    # What an encoder is profiled with changes none of its weights.
    if request.weights_gib is None and replace(lean, encoder=model.encoder) != model:
        counted_anew = replace(request, files_gib=None)
        share = _weights(lean, counted_anew).gib / _weights(model, counted_anew).gib
        whole = Term(whole.gib * share, whole.error_gib, f"{whole.how}; {share:.0%} of it here")
    return offloaded(whole, asked, len(model.layers))


def _weights(model: Model, request: PlanRequest) -> Term:
    if request.weights_gib is not None:
        return Term(request.weights_gib, 0.02 * request.weights_gib, "as given")
    tp, pp = request.tensor_parallel_size, request.pipeline_parallel_size
    if request.files_gib is not None and not _converts_at_load(model, request):
        gib = request.files_gib / (tp * pp)
        words = f"{request.files_gib:.2f} GiB of files over {tp * pp} GPUs"
        return Term(gib, 0.02 * gib + (0.06 * gib if pp > 1 else 0.0), words)
    kernels = kernels_of(request.version, request.gpu_name)
    found: Weights = counted(model, request.quantization, tp, pp, kernels)
    return Term(found.gib, found.error_gib, found.how)


def _converts_at_load(model: Model, request: PlanRequest) -> bool:
    return not model.quantization_config and bool(request.quantization)


def _root(*terms: Term | None) -> float:
    # Independent errors: they seldom all point one way.
    squares = sum(term.error_gib**2 for term in terms if term is not None)
    return float(squares**0.5)


def _printed_tokens(kv: Kv, pool: float, length: int, concurrency: float, version: Version) -> int:
    if not kv.groups:
        return 0
    if version.derived_tokens:
        return int(concurrency * length)
    groups = sum(group.count for group in kv.groups)
    fewest = min(group.block_tokens for group in kv.groups)
    # Where each GPU has a part of the context, all of them together are printed.
    return kv.blocks(pool) // groups * fewest * kv.spread


def terms(plan: Plan) -> list[dict[str, object]]:
    """Return every GiB of the card with its name and how it comes about."""
    rows = [
        ("weights", plan.weights),
        ("activation", plan.activation),
        ("non_torch", plan.non_torch),
        ("cuda_graph", _where(plan)),
    ]
    found = [_row(name, term) for name, term in rows]
    if plan.states_gib:
        how = f"recurrent states of {plan.batch.sequences} sequences, beside the KV cache"
        found.append(_row("states", Term(plan.states_gib, 0.0, how)))
    request = plan.request
    found += [_row(item.name, item.term) for item in request.asked.beside]
    fix = request.measured.correction
    if fix is not None:
        how = f"measured here on {request.measured.when}: the plan of that start was so far off"
        found.append(_row("correction", Term(-fix.gib, fix.error_gib, how)))
    how = f"what is left of {request.utilization:g} x {request.gpu_memory_gib:g} GiB"
    found.append(_row("available_kv", Term(plan.available_kv_gib, plan.error_gib, how)))
    left = request.gpu_memory_gib - plan.budget_gib
    found.append(_row("not_used", Term(left, 0.0, "beyond gpu_memory_utilization")))
    return found


def _where(plan: Plan) -> Term:
    graphs = plan.cuda_graphs
    if plan.graphs_inside or not graphs.gib:
        return graphs
    return replace(graphs, how=f"{graphs.how}; beside the share, of what is not used")


def _row(name: str, term: Term) -> dict[str, object]:
    gib, error = round(term.gib, 3), round(term.error_gib, 3)
    return {"name": name, "gib": gib, "error_gib": error, "how": term.how}
