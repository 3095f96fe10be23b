# SPDX-License-Identifier: Apache-2.0
"""Whether a planned start succeeds, with the arithmetic in one sentence.

Each rule says "does not fit" only where the friendly end of the estimates fails too, and "fits"
only where the unfriendly end holds; between them lies "tight".
"""

from __future__ import annotations

from collections.abc import Callable

from agent.core.measures import GIB
from agent.core.planner.layers import Keeps
from agent.core.planner.question import SHARED_UTILIZATION, Fit, Plan
from agent.core.planner.versions import REFUSES_TOO_MANY_STATES

DRIVER_GIB = 0.45
"""What the driver and a context hold of a card before vLLM's check of the free memory."""

LATER_GIB = 0.6
"""What a start takes beyond its share once the KV cache stands, and what a neighbour on the card
may grow by: an L4 shared with another server ran out 0.5 GiB below what was free (0.28)."""

HOST_GIB = 8.0
"""What the host itself holds of unified memory before a start."""

Verdict = tuple[Fit, str]


def verdict_of(plan: Plan) -> Verdict:
    """Return the verdict and its reason: that of the first rule that has one."""
    for rule in RULES:
        found = rule(plan)
        if found is not None:
            return found
    if plan.encoder_only:
        return Fit.FITS, (
            f"weights and activation take {plan.weights.gib + plan.activation.gib:.2f} GiB of the "
            f"card; an encoder keeps no KV cache"
        )
    return Fit.FITS, (
        f"{plan.available_kv_gib:.2f} GiB for the KV cache, one request of {plan.max_model_len} "
        f"tokens needs {plan.needed_kv_gib:.2f} GiB"
    )


def free_gib(plan: Plan) -> float:
    """Return what is free of a card before the start, as told or as usual."""
    request = plan.request
    if request.free_gib is not None:
        return request.free_gib
    taken = HOST_GIB if request.device.shares_host_memory else DRIVER_GIB
    return request.gpu_memory_gib - taken


def fewest_blocks(plan: Plan) -> int:
    """Return the blocks of the KV cache if every estimate is off in the bad direction."""
    return plan.kv.blocks(plan.low_gib * GIB)


def _refused(plan: Plan) -> Verdict | None:
    return (Fit.DOES_NOT_FIT, plan.refusal) if plan.refusal else None


def _above_one(plan: Plan) -> Verdict | None:
    if plan.budget_gib <= plan.request.gpu_memory_gib:
        return None
    return Fit.DOES_NOT_FIT, f"gpu_memory_utilization {plan.request.utilization:g} is above 1"


def _not_known(plan: Plan) -> Verdict | None:
    reasons = plan.request.asked.not_known
    return (Fit.NOT_KNOWN, "; ".join(reasons)) if reasons else None


def _never_measured(plan: Plan) -> Verdict | None:
    if plan.known:
        return None
    return Fit.TIGHT, (
        f"{plan.architecture} is a family that was never measured: what it keeps of a request is "
        f"not known, and its weights are about {plan.weights.gib:.0f} GiB; take what vLLM prints"
    )


def _weights_too_heavy(plan: Plan) -> Verdict | None:
    told = plan.request.free_gib
    most = plan.request.gpu_memory_gib if told is None else told
    if plan.lightest_gib <= most:
        return None
    return Fit.DOES_NOT_FIT, (
        f"the weights take {plan.weights.gib:.2f} GiB, the card has {free_gib(plan):.2f} GiB to "
        f"give"
    )


def _too_many_states(plan: Plan) -> Verdict | None:
    """Each sequence that decodes takes a block of states: vLLM refuses more than there are."""
    recurrent = any(group.keeps is Keeps.STATE for group in plan.kv.groups)
    captured = not plan.request.enforce_eager
    if not recurrent or not captured or plan.request.version.release < REFUSES_TOO_MANY_STATES:
        return None
    asked, fewest = plan.batch.sequences, fewest_blocks(plan)
    most, about = plan.kv.blocks(plan.high_gib * GIB), plan.kv.blocks(plan.pool_bytes)
    if asked <= fewest or about == 0:
        return None
    if asked <= about and fewest < 1:
        # With every estimate off there is no cache at all, which is what is to be said.
        return None
    return Fit.DOES_NOT_FIT if asked > most else Fit.TIGHT, (
        f"max_num_seqs {asked} needs as many blocks for recurrent states, about {about} are there: "
        f"lower max_num_seqs, to {fewest} to be safe"
    )


def _no_room(plan: Plan) -> Verdict | None:
    if plan.high_gib > 0 or plan.encoder_only:
        return None
    return Fit.DOES_NOT_FIT, (
        f"no memory is left for the KV cache ({plan.available_kv_gib:.2f} GiB)"
    )


def _encoder_too_heavy(plan: Plan) -> Verdict | None:
    """An encoder keeps nothing of a request: it needs its weights and one batch, on the card.

    Without a KV cache vLLM leaves no share of the memory to be filled, so that any
    gpu_memory_utilization that is free will do (v1/engine/core, 0.11..0.32).
    """
    if not plan.encoder_only:
        return None
    parts = (plan.weights, plan.activation, plan.non_torch)
    needed, error = sum(part.gib for part in parts), sum(part.error_gib for part in parts)
    free = free_gib(plan)
    if needed + error <= free:
        return None
    fit = Fit.DOES_NOT_FIT if needed - error > free else Fit.TIGHT
    return fit, f"weights and activation take {needed:.2f} GiB, about {free:.2f} GiB are free"


def _request_too_long(plan: Plan) -> Verdict | None:
    if plan.needed_kv_gib <= plan.high_gib or plan.encoder_only:
        return None
    return Fit.DOES_NOT_FIT, (
        f"one request of {plan.max_model_len} tokens needs {plan.needed_kv_gib:.2f} GiB of KV "
        f"cache, {plan.available_kv_gib:.2f} GiB are left"
    )


def _doubtful(plan: Plan) -> Verdict | None:
    return (Fit.TIGHT, plan.doubt) if plan.doubt else None


def _beyond_the_model(plan: Plan) -> Verdict | None:
    if plan.max_model_len <= plan.model_tokens:
        return None
    return Fit.TIGHT, (
        f"max_model_len {plan.max_model_len} is more than the {plan.model_tokens} tokens that "
        f"the model was made for: vLLM refuses it without rope scaling"
    )


def _others_count(plan: Plan) -> Verdict | None:
    """A small share is asked for where a card is shared; this V1 takes others' memory out of it."""
    request = plan.request
    small = request.utilization <= SHARED_UTILIZATION and request.free_gib is None
    if not small or not request.version.counts_others:
        return None
    return Fit.TIGHT, (
        f"this vLLM counts what other processes hold of the card within its {plan.budget_gib:.2f} "
        f"GiB: tell what is free with --free-gib, or take 0.9.2 or later"
    )


def _not_free(plan: Plan) -> Verdict | None:
    told = plan.request.free_gib is not None
    if plan.budget_gib + (LATER_GIB if told else 0.0) <= free_gib(plan):
        return None
    return Fit.TIGHT, (
        f"utilization {plan.request.utilization:g} asks for {plan.budget_gib:.2f} GiB, about "
        f"{free_gib(plan):.2f} GiB are free before the start"
    )


def _within_the_errors(plan: Plan) -> Verdict | None:
    if plan.low_gib >= plan.needed_kv_gib or plan.encoder_only:
        return None
    return Fit.TIGHT, (
        f"{plan.available_kv_gib:.2f} GiB for the KV cache give or take {plan.error_gib:.2f}, "
        f"{plan.needed_kv_gib:.2f} GiB are needed"
    )


def _graphs_on_top(plan: Plan) -> Verdict | None:
    """Graphs are captured beside the share, where the new runner's warm-up samples, too.

    Images tear the allocator's blocks once more then: Qwen3-VL-30B on an A100 held 75.46 GiB in
    blocks of 79.07 in use, at 0.95 (0.11).
    """
    graphs, room = plan.cuda_graphs, free_gib(plan) - plan.budget_gib
    if plan.graphs_inside or not graphs.gib:
        return None
    torn = plan.activation.gib if plan.profiles_images else 0.0
    sampled = plan.sampled_later_gib
    if graphs.gib + graphs.error_gib + torn + sampled <= room:
        return None
    more = f", sampling {sampled:.2f}" if sampled else ""
    more += f" and what images leave unused between their blocks {torn:.2f}" if torn else ""
    return Fit.TIGHT, (
        f"CUDA graphs take about {graphs.gib:.2f} GiB beyond utilization in this vLLM{more}, "
        f"{room:.2f} GiB are left for them"
    )


RULES: tuple[Callable[[Plan], Verdict | None], ...] = (
    *(_refused, _above_one, _not_known, _never_measured, _weights_too_heavy),
    *(_too_many_states, _encoder_too_heavy, _no_room, _request_too_long),
    *(_doubtful, _beyond_the_model, _others_count, _not_free, _within_the_errors),
    _graphs_on_top,
)
"""In this order: what no memory helps against first, then what does not fit, then what is tight."""
