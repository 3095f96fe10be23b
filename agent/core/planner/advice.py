# SPDX-License-Identifier: Apache-2.0
"""What would make a plan fit, or fit better: each change planned anew and told with its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agent.core.planner.kv import kv_element_bytes
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, Plan, PlanRequest
from agent.core.planner.refusals import fewest_step_tokens
from agent.core.planner.terms.cache_format import cached_as
from agent.core.planner.verdict import DRIVER_GIB, fewest_blocks

ROUND_TOKENS = 256
MOST_GPUS = 8
FEW_SEQS = 32
ROUND_SEQS = 16
FOUR_BITS = {"quant_method": "awq", "bits": 4, "group_size": 128}


def advice_for(model: Model, plan: Plan) -> tuple[str, ...]:
    """Return sentences, the cheapest change first; for a plan that fits, what its limits mean."""
    if plan.verdict is Fit.FITS:
        return tuple(_limits(plan))
    if plan.verdict is Fit.NOT_KNOWN or plan.request.asked.refusal:
        return ()
    return tuple(_changes(model, plan))


def _limits(plan: Plan) -> Iterator[str]:
    wanted = plan.batch.sequences
    if plan.max_concurrency < wanted and not plan.encoder_only:
        yield (
            f"max_num_seqs {wanted} is a cap, not a reservation: the KV cache holds "
            f"{plan.max_concurrency:.1f} requests of {plan.max_model_len} tokens at once, "
            f"more when they are shorter"
        )


def _changes(model: Model, plan: Plan) -> Iterator[str]:
    request = plan.request
    if plan.encoder_only or not plan.known:
        return
    step = fewest_step_tokens(model, request, plan.kv)
    if step > plan.batch.tokens:
        request = replace(request, max_num_batched_tokens=step)
        enough = f"max_num_batched_tokens = {step}"
        yield next(_told(enough, model, request), f"{enough}, and one of these besides")
    blocks = fewest_blocks(plan)
    if 0 < blocks < plan.batch.sequences and _has_states(plan):
        fewer = replace(request, max_num_seqs=_rounded(blocks))
        yield from _told(f"max_num_seqs = {_rounded(blocks)}", model, fewer)
    length = plan.largest_max_model_len // ROUND_TOKENS * ROUND_TOKENS
    if plan.available_kv_gib > 0 and 0 < length < plan.max_model_len:
        yield f"max_model_len = {length}: the longest request that {_kv(plan)} holds"
    if kv_element_bytes(model, cached_as(model, request)) >= 2:
        yield from _told("kv_cache_dtype = fp8", model, replace(request, kv_cache_dtype="fp8"))
    if (request.max_num_seqs or 256) > FEW_SEQS:
        fewer = replace(request, max_num_seqs=FEW_SEQS)
        yield from _told(f"max_num_seqs = {FEW_SEQS}", model, fewer)
    yield from _more_utilization(model, plan)
    yield from _more_gpus(model, plan)
    if not model.quantization_config and not request.quantization:
        smaller = replace(request, weights_gib=None, files_gib=None)
        copy = replace(model, quantization_config=FOUR_BITS)
        yield from _told("a 4-bit AWQ or GPTQ checkpoint", copy, smaller)


def _has_states(plan: Plan) -> bool:
    return any(group.keeps is Keeps.STATE for group in plan.kv.groups)


def _rounded(blocks: int) -> int:
    """Return a round number of sequences that is no more than this."""
    return blocks if blocks < ROUND_SEQS else blocks // ROUND_SEQS * ROUND_SEQS


def _kv(plan: Plan) -> str:
    return f"a KV cache of {plan.available_kv_gib:.2f} GiB"


def _told(what: str, model: Model, request: PlanRequest) -> Iterator[str]:
    other = make_plan(model, request)
    if other.verdict is Fit.DOES_NOT_FIT:
        return
    yield (
        f"{what}: {other.verdict.value}, weights {other.weights.gib:.2f} GiB, "
        f"{other.available_kv_gib:.2f} GiB for the KV cache of {other.kv_tokens} tokens"
    )


def _more_utilization(model: Model, plan: Plan) -> Iterator[str]:
    request = plan.request
    most = (request.gpu_memory_gib - DRIVER_GIB) / request.gpu_memory_gib
    value = int(min(most, 0.97) * 100) / 100
    if value > request.utilization and request.kv_cache_memory_bytes is None:
        raised = replace(request, gpu_memory_utilization=value)
        yield from _told(f"gpu_memory_utilization = {value:g}", model, raised)


def _more_gpus(model: Model, plan: Plan) -> Iterator[str]:
    request, count = plan.request, plan.request.tensor_parallel_size * 2
    while count <= MOST_GPUS and model.heads % count == 0:
        wider = replace(request, tensor_parallel_size=count, weights_gib=None)
        other = make_plan(model, wider)
        if other.verdict is not Fit.DOES_NOT_FIT:
            yield (
                f"{count} such GPUs (tensor_parallel_size = {count}): {other.verdict.value}, "
                f"weights {other.weights.gib:.2f} GiB and {other.available_kv_gib:.2f} GiB for "
                f"the KV cache on each, {other.kv_tokens} tokens"
            )
            return
        count *= 2
