# SPDX-License-Identifier: Apache-2.0
"""A start that served here corrects later plans of the same model on the same cards.

The same settings take what was printed. Other settings take the weights as printed, and all that
lies beside them (activation, contexts, CUDA graphs) as planned plus what the plan of the earlier
start was off: drivers, libraries and neighbours are the host's and stay.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.planner.model import Model
from agent.core.planner.overheads import Term
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Correction, Measured, Plan, PlanRequest
from agent.core.planner.terms.compiled import compiling
from agent.core.planner.terms.runner import as_run
from agent.core.record import dataclass

SAME_CARD = 0.01
"""Two cards whose memory differs by a smaller share are of one kind."""

SURE_GIB = 0.15
CARRIED = 0.5
"""Of what is planned to change beside the weights, this share may be as far off as it was."""


FROM_CACHE, COMPILED = "from the cache", "compiled"
"""The values of the fact `compiled_graphs`."""


@dataclass(frozen=True, slots=True)
class EarlierStart:
    """What was asked of a start that served, what vLLM printed of it, and the day."""

    request: PlanRequest
    printed: Measured
    when: str


def plan_after(model: Model, request: PlanRequest, earlier: EarlierStart | None) -> Plan:
    """Return the plan, corrected where an earlier start tells how far plans are off here.

    Raises UnknownQuantizationError as make_plan does.
    """
    if earlier is None or not is_alike(request, earlier.request):
        return make_plan(model, request)
    printed = earlier.printed
    known = Measured(weights_gib=printed.weights_gib, when=earlier.when)
    planned = make_plan(model, replace(earlier.request, measured=known))
    if printed.available_kv_gib is None or earlier.request.kv_cache_memory_bytes is not None:
        return make_plan(model, replace(request, measured=known))
    more = _compiled_otherwise(model, request, earlier)
    gib = printed.available_kv_gib + more.gib - planned.available_kv_gib
    changed = abs(beside(make_plan(model, request)) - beside(planned))
    fix = Correction(gib, SURE_GIB + CARRIED * changed + more.error_gib)
    return make_plan(model, replace(request, measured=replace(known, correction=fix)))


def from_cache_of(compiled_graphs: object) -> bool | None:
    """Return whether the fact of that name says that compiled code came from the cache."""
    return {FROM_CACHE: True, COMPILED: False}.get(str(compiled_graphs))


def _compiled_otherwise(model: Model, request: PlanRequest, earlier: EarlierStart) -> Term:
    """Return what the next start keeps more than the earlier one, less where it compiles anew.

    Of the settings only the share of the card leaves the compiled code as it is.
    """
    was = earlier.printed.from_cache
    share = request.gpu_memory_utilization
    same = replace(earlier.request, gpu_memory_utilization=share, measured=request.measured)
    will_be = replace(same, free_gib=request.free_gib) == request
    if was is None or was is will_be or request.enforce_eager or earlier.request.enforce_eager:
        return Term(0.0, 0.0, "")
    anew = compiling(as_run(model, request.quantization), request.version)
    return replace(anew, gib=anew.gib if will_be else -anew.gib)


def is_alike(one: PlanRequest, other: PlanRequest) -> bool:
    """Tell whether two starts differ only in what the plan reckons with."""
    same = ("version", "gpu_name", "tensor_parallel_size", "pipeline_parallel_size")
    kept = all(getattr(one, name) == getattr(other, name) for name in same)
    weights = (one.quantization, one.dtype) == (other.quantization, other.dtype)
    card = abs(one.gpu_memory_gib / other.gpu_memory_gib - 1) < SAME_CARD
    return kept and weights and card


def beside(plan: Plan) -> float:
    """Return the GiB that a plan counts beside weights and cache."""
    graphs = plan.cuda_graphs.gib if plan.graphs_inside else 0.0
    return plan.activation.gib + plan.non_torch.gib + graphs
