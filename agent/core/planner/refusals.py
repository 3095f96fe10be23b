# SPDX-License-Identifier: Apache-2.0
"""What vLLM refuses, whatever memory there is: splits, batches, formats that a checkpoint lacks."""

from __future__ import annotations

import math
import re

from agent.core.engine.defaults import Batch
from agent.core.engine.names import weight_family
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model
from agent.core.planner.pool import Kv
from agent.core.planner.question import PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError, format_of
from agent.core.planner.terms.kernels import HOPPER
from agent.core.planner.terms.splits import torn_scale
from agent.core.planner.versions import ALIGNED_STATES, WHOLE_ITEMS

VOCABULARY_STEP = 64
_CACHES_HEADS = (Keeps.TOKENS, Keeps.WINDOW, Keeps.CHUNK)

_NEEDS_A_CHECKPOINT = frozenset(
    {"awq", "gptq", "modelopt", "modelopt_fp4", "compressed-tensors", "mxfp4", "auto-round", "inc"}
)
"""Methods that only load what was quantized before: vLLM ends with "Cannot find the config file"
without a quantization_config in the checkpoint (config/model.py, weight_utils of 0.6.3..0.32)."""

_OWN_METHODS = frozenset({"awq", "gptq", "fp8", "compressed-tensors", "bitsandbytes", "mxfp4"})


def refusal_of(model: Model, request: PlanRequest, batch: Batch, kv: Kv) -> str:
    """Return why vLLM refuses to start like this, "" where it does not (0.6.3..0.33)."""
    asked = (request.quantization or "").lower()
    return (
        _format(model, asked)
        or _batch(request, batch)
        or _split(model, request)
        or (_unaligned(request, batch, kv) if request.max_num_batched_tokens else "")
        or ("" if _is_guessed(model) else torn_scales(model, request))
    )


def doubt_of(model: Model, request: PlanRequest, batch: Batch, kv: Kv) -> str:
    """Return why vLLM may refuse: what only a name tells, or a family that nobody measured."""
    if model.layers[0].keeps is Keeps.COMPRESSED and not re.search(HOPPER, request.gpu_name):
        return (
            f"{model.architecture} was held against starts on Hopper alone; elsewhere its kernels "
            f"took up to 6 GiB more (two cards of 96 GB, 0.22): take what vLLM prints"
        )
    torn = torn_scales(model, request) if _is_guessed(model) else ""
    return (
        torn
        or request.asked.doubt
        or _torn_item(model, request, batch)
        or _unaligned(request, batch, kv)
    )


def _is_guessed(model: Model) -> bool:
    return bool(model.quantization_config.get("by_name")) or not model.known


def _format(model: Model, asked: str) -> str:
    family = weight_family(asked) if asked else ""
    family = "modelopt_fp4" if family in {"nvfp4", "fp4"} else family
    own = weight_family(str(model.quantization_config.get("quant_method") or ""))
    if family in _NEEDS_A_CHECKPOINT and not model.quantization_config:
        return (
            f"quantization {asked}: the checkpoint is not quantized, and vLLM converts to "
            f"{family} only what was; name a quantized copy of the model"
        )
    if family in _OWN_METHODS and own in _OWN_METHODS and family != own:
        return f"quantization {asked}: the checkpoint's own is {own}, and vLLM refuses another"
    return ""


def _batch(request: PlanRequest, batch: Batch) -> str:
    """A step computes at least a token of each sequence (SchedulerConfig, 0.6..0.32)."""
    if batch.sequences <= batch.tokens:
        return ""
    unasked = "" if request.max_num_batched_tokens else ", as vLLM takes it here unasked,"
    tokens, sequences = batch.tokens, batch.sequences
    return f"max_num_batched_tokens {tokens}{unasked} is less than max_num_seqs {sequences}"


def fewest_step_tokens(model: Model, request: PlanRequest, kv: Kv) -> int:
    """Return the least max_num_batched_tokens that a step needs to hold what it has to, or 0."""
    return max(_block(request, kv), _item(model, request))


def _block(request: PlanRequest, kv: Kv) -> int:
    """Return the tokens of a block whose recurrent states are cached, 0 where none are."""
    recurrent = any(group.keeps is Keeps.STATE for group in kv.groups)
    aligned = recurrent and request.version.release >= ALIGNED_STATES and request.caches_prefixes
    return kv.block_tokens if aligned else 0


def _item(model: Model, request: PlanRequest) -> int:
    first, _ = WHOLE_ITEMS
    asked = request.asked
    seen = asked.videos and not asked.text_only and request.version.release >= first
    return model.whole_item if seen else 0


def _unaligned(request: PlanRequest, batch: Batch, kv: Kv) -> str:
    """Recurrent states that are cached are those at the end of a block, which a step reaches.

    With a batch that nobody asked for this is a doubt: the LLM class takes another than the server.
    """
    if _block(request, kv) <= batch.tokens:
        return ""
    return (
        f"max_num_batched_tokens {batch.tokens} is less than the block of {kv.block_tokens} tokens "
        f"that prefix caching beside recurrent states needs: give {kv.block_tokens} or more, or "
        f"--no-enable-prefix-caching"
    )


def _torn_item(model: Model, request: PlanRequest, batch: Batch) -> str:
    item = _item(model, request)
    if item <= batch.tokens:
        return ""
    return (
        f"max_num_batched_tokens {batch.tokens} is less than the {item} tokens of the largest "
        f"video, which one step has to hold: give {item} or more, or limit videos to none with "
        f"--limit-mm-per-prompt"
    )


def _split(model: Model, request: PlanRequest) -> str:
    tp, pp = request.tensor_parallel_size, request.pipeline_parallel_size
    if not model.known:
        return ""
    if any(layer.attends for layer in model.layers) and model.heads % tp:
        return f"{model.heads} attention heads do not divide by tensor_parallel_size {tp}"
    for kv_heads in {x.kv_heads for x in model.layers if x.keeps in _CACHES_HEADS and x.kv_heads}:
        if max(kv_heads, tp) % min(kv_heads, tp):
            return f"{kv_heads} heads of keys and values do not divide by {tp} GPUs"
    rows = math.ceil(model.vocab_size / VOCABULARY_STEP) * VOCABULARY_STEP
    if rows % tp:
        return f"a vocabulary of {rows} does not divide by tensor_parallel_size {tp}"
    if pp > len(model.layers):
        return f"{len(model.layers)} layers are fewer than pipeline_parallel_size {pp}"
    return ""


def torn_scales(model: Model, request: PlanRequest) -> str:
    """Return which scale of the checkpoint the split tears, "" where none."""
    if not model.quantization_config:
        return ""
    try:
        stored = format_of(model, request.quantization)
    except UnknownQuantizationError:
        return ""
    tp, whole = request.tensor_parallel_size, request.asked.whole_experts
    return torn_scale(model, stored, tp, whole_experts=whole)
