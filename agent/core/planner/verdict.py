# SPDX-License-Identifier: Apache-2.0
"""Whether a planned start succeeds, with the arithmetic in one sentence."""

from __future__ import annotations

from agent.core.planner.layers import Keeps
from agent.core.planner.question import Fit, Plan

DRIVER_GIB = 0.45
"""What the driver and a context hold of a card before vLLM's check of the free memory."""


def verdict_of(plan: Plan) -> tuple[Fit, str]:
    """Return the verdict and its reason."""
    request = plan.request
    free = request.free_gib
    if free is None:
        free = request.gpu_memory_gib - DRIVER_GIB
    needed, available = plan.needed_kv_gib, plan.available_kv_gib
    if plan.refusal:
        return Fit.DOES_NOT_FIT, plan.refusal
    if plan.weights.gib - plan.weights.error_gib > free:
        return Fit.DOES_NOT_FIT, (
            f"the weights take {plan.weights.gib:.2f} GiB, the card has {free:.2f} GiB to give"
        )
    if plan.budget_gib > request.gpu_memory_gib:
        return Fit.DOES_NOT_FIT, f"gpu_memory_utilization {request.utilization:g} is above 1"
    if available + plan.error_gib <= 0:
        return Fit.DOES_NOT_FIT, f"no memory is left for the KV cache ({available:.2f} GiB)"
    if needed > available + plan.error_gib:
        return Fit.DOES_NOT_FIT, (
            f"one request of {plan.max_model_len} tokens needs {needed:.2f} GiB of KV cache, "
            f"{available:.2f} GiB are left"
        )
    return _tight(plan, free) or (
        Fit.FITS,
        f"{available:.2f} GiB for the KV cache, one request of {plan.max_model_len} tokens "
        f"needs {needed:.2f} GiB",
    )


def _tight(plan: Plan, free: float) -> tuple[Fit, str] | None:
    request = plan.request
    if not plan.known:
        return Fit.TIGHT, (
            f"{plan.architecture} is a family that was never measured: about "
            f"{plan.available_kv_gib:.2f} GiB for the KV cache, {plan.needed_kv_gib:.2f} GiB are "
            f"needed if it keeps what a plain transformer keeps; take what vLLM prints"
        )
    if plan.max_model_len > plan.model_tokens:
        return Fit.TIGHT, (
            f"max_model_len {plan.max_model_len} is more than the {plan.model_tokens} tokens that "
            f"the model was made for: vLLM refuses it without rope scaling"
        )
    if plan.budget_gib > free:
        return Fit.TIGHT, (
            f"utilization {request.utilization:g} asks for {plan.budget_gib:.2f} GiB, about "
            f"{free:.2f} GiB are free before the start"
        )
    if plan.low_gib < plan.needed_kv_gib:
        return Fit.TIGHT, (
            f"{plan.available_kv_gib:.2f} GiB for the KV cache give or take "
            f"{plan.error_gib:.2f}, {plan.needed_kv_gib:.2f} GiB are needed"
        )
    graphs = plan.cuda_graphs
    on_top = plan.budget_gib + graphs.gib + graphs.error_gib
    if not request.version.graphs_inside and graphs.gib and on_top > free:
        return Fit.TIGHT, (
            f"CUDA graphs take about {graphs.gib:.2f} GiB beyond utilization in this vLLM, "
            f"{free - plan.budget_gib:.2f} GiB are left for them"
        )
    if _states_too_few(plan):
        return Fit.TIGHT, (
            f"max_num_seqs {plan.batch.sequences} is more than the blocks for recurrent states"
        )
    return None


def _states_too_few(plan: Plan) -> bool:
    recurrent = any(group.keeps is Keeps.STATE for group in plan.kv.groups)
    return recurrent and plan.batch.sequences > plan.kv.blocks(plan.pool_bytes)
