# SPDX-License-Identifier: Apache-2.0
"""From a picture of vLLM's options to what the plan is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from agent.core.command.parallel import parallel_of
from agent.core.command.picture import Picture
from agent.core.command.values import merged
from agent.core.engine.names import dtype_bytes
from agent.core.planner.asked.ask import ADAPTERS, Asked, Beside
from agent.core.planner.asked.capability import Capability, refused_by_card
from agent.core.planner.asked.effects import DTYPES, KV_WORDS, POOLED, WIDENED
from agent.core.planner.asked.lora import MOST_VOCABULARY, has_heads, room_for_adapters
from agent.core.planner.asked.sleep import doubt_of_sleep, given_twice, is_miscounted
from agent.core.planner.asked.speculation import Draft, speculation_of, with_speculation
from agent.core.planner.asked.unknown import not_reckoned, small_moves
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model
from agent.core.planner.overheads import Term
from agent.core.planner.question import PlanRequest
from agent.core.planner.terms.graphs import sizes_up_to
from agent.core.record import dataclass

MOST_SHARE = 1.0
SLEEP = "sleep_mode"
WITHOUT_ENCODER = (0, 16)
"""From here encoders that no prompt may use are not loaded."""

EARLIER, EARLIER_WITHOUT = (0, 10, 2), ("Qwen2VL", "Qwen2_5_VL", "Qwen3VL", "Mistral3")
"""From here those of these are not (get_limit_per_prompt in their files, read in 0.10.2..0.13)."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan stands on beside the command line: the card, the engine, the model's files.

    `request` holds what the caller knows (memory, version, files, what was measured).
    """

    request: PlanRequest
    capability: Capability | None = None
    draft: Draft | None = None


def mistakes_in(picture: Picture) -> tuple[str, ...]:
    """Return what of the options makes no plan, each in one sentence."""
    return (*picture.mistakes, *_wrong_values(picture))


def _wrong_values(picture: Picture) -> Iterator[str]:
    for name, words in (("kv_cache_dtype", KV_WORDS), ("dtype", DTYPES)):
        word = picture.text(name)
        if word is not None and word.lower() not in words:
            yield f"{_flag(name)} {word}: vLLM has {', '.join(words[:8])}{_near(word, words)}"
    for name in (
        *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
        *("decode_context_parallel_size", "max_num_seqs", "max_num_batched_tokens"),
        *("kv_cache_memory_bytes", "max_loras", "max_lora_rank", "block_size"),
    ):
        number = picture.whole(name)
        if number is not None and number <= 0:
            yield f"{_flag(name)} {number} is not above 0"
    length = picture.whole("max_model_len")
    if length is not None and length <= 0 and length != -1:
        yield f"--max-model-len {length} is neither above 0 nor -1 (auto)"
    share = picture.real("gpu_memory_utilization")
    if share is not None and not 0 < share <= MOST_SHARE:
        hint = f"; it is a share: {share / 100:g}" if 1 < share <= 100 else ""
        yield f"--gpu-memory-utilization {share:g} is not above 0 and at most 1{hint}"
    for name in ("cpu_offload_gb", "kv_offloading_size", "mm_ipc_gpu_memory_gb"):
        size = picture.real(name)
        if size is not None and size < 0:
            yield f"{_flag(name)} {size:g} is below 0"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _near(word: str, words: tuple[str, ...]) -> str:
    import difflib  # only for who has made a mistake

    close = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.5)
    return f", ...; did you mean {close[0]}?" if close else ", ..."


def overridden(config: Mapping[str, Any], picture: Picture) -> Mapping[str, Any]:
    """Return config.json with what --hf-overrides puts over it."""
    table = picture.table("hf_overrides")
    return merged(config, table) if table else config


def request_of(picture: Picture, model: Model, ground: Ground) -> PlanRequest:
    """Return the request that a command line makes; with a mistake in it nothing is known."""
    split = parallel_of(picture)
    request = replace(
        ground.request,
        tensor_parallel_size=split.tensor,
        pipeline_parallel_size=split.pipeline,
        quantization=picture.text("quantization"),
        kv_cache_dtype=(picture.text("kv_cache_dtype") or "auto").lower(),
        max_model_len=picture.whole("max_model_len"),
        max_num_seqs=picture.whole("max_num_seqs"),
        max_num_batched_tokens=picture.whole("max_num_batched_tokens"),
        gpu_memory_utilization=picture.real("gpu_memory_utilization"),
        kv_cache_memory_bytes=picture.whole("kv_cache_memory_bytes"),
        enforce_eager=_without_graphs(picture),
        enable_prefix_caching=picture.switch("enable_prefix_caching"),
        dtype=picture.text("dtype"),
    )
    wrong = mistakes_in(picture)
    beside = tuple(_beside(picture, model, request))
    asked = Asked(
        data_parallel=split.data,
        whole_experts=split.experts,
        decode_context=split.decode_context,
        text_only=_is_text_only(picture, model, request),
        pools=_pools(picture),
        videos=_items(picture).get("video") != 0,
        encoder_copies=_encoders(picture, request),
        state_bytes=dtype_bytes(picture.text("mamba_ssm_cache_dtype") or "") or 0,
        cpu_offload_gib=picture.real("cpu_offload_gb") or 0.0,
        block_tokens=picture.whole("block_size"),
        gpu_blocks=picture.whole("num_gpu_blocks_override"),
        captured=_captured(picture),
        widened=_widened(picture),
        overlapped=picture.switch("async_scheduling") is not False,
        beside=(*beside, *small_moves(picture)),
        host=tuple(_host(picture, split.gpus)),
        not_known=(*wrong, *not_reckoned(picture, model)),
        doubt=next((doubt_of_sleep(item.term) for item in beside if item.name == SLEEP), ""),
        refusal=_refusal(picture, model, request, ground),
    )
    speculation = speculation_of(picture)
    if speculation is not None:
        asked = with_speculation(asked, speculation, model, request, ground.draft)
    return replace(request, asked=asked)


def _without_graphs(picture: Picture) -> bool:
    mode = str(picture.table("compilation_config").get("cudagraph_mode", "")).upper()
    return bool(picture.switch("enforce_eager")) or mode in ("NONE", "0")


def _captured(picture: Picture) -> tuple[int, ...] | None:
    table = picture.table("compilation_config")
    sizes = table.get("cudagraph_capture_sizes")
    if isinstance(sizes, list):
        return tuple(size for size in sizes if isinstance(size, int))
    most = picture.whole("max_cudagraph_capture_size") or table.get("max_cudagraph_capture_size")
    return sizes_up_to(most) if isinstance(most, int) else None


def _widened(picture: Picture) -> int | None:
    factor = picture.table("attention_config").get(WIDENED)
    return factor if isinstance(factor, int) and factor > 0 else None


def _pools(picture: Picture) -> bool:
    return any((picture.text(name) or "").lower() in words for name, words in POOLED.items())


def _is_text_only(picture: Picture, model: Model, request: PlanRequest) -> bool:
    early = model.architecture.startswith(EARLIER_WITHOUT)
    first = EARLIER if early else WITHOUT_ENCODER
    if not model.encodes or request.version.release < first:
        return False
    if picture.switch("language_model_only"):
        return True
    counts = _items(picture)
    return counts.get("image") == 0 and counts.get("video") == 0 and not any(counts.values())


def _items(picture: Picture) -> Mapping[str, Any]:
    """Return how many of each kind a prompt may hold, of those that are limited."""
    return {
        name: value.get("count") if isinstance(value, dict) else value
        for name, value in picture.table("limit_mm_per_prompt").items()
    }


def _encoders(picture: Picture, request: PlanRequest) -> int:
    whole = picture.text("mm_encoder_tp_mode") == "data"
    return request.tensor_parallel_size if whole else 1


def _beside(picture: Picture, model: Model, request: PlanRequest) -> Iterator[Beside]:
    if picture.switch("enable_lora"):
        term = room_for_adapters(
            model,
            picture.whole("max_loras") or 1,
            picture.whole("max_lora_rank") or 16,
            request.tensor_parallel_size,
            sharded=bool(picture.switch("fully_sharded_loras")),
        )
        yield Beside(ADAPTERS, term)
        if request.device.shares_host_memory:
            how = "adapters that the profiling run makes up in the host's memory"
            yield Beside("made_up_adapters", Term(term.gib, term.gib, how))
    if parallel_of(picture).data > 1 and model.experts is not None:
        yield Beside("data_parallel", Term(0.0, 1.0, "buffers that pass tokens between replicas"))
    if is_miscounted(picture, request):
        yield Beside(SLEEP, given_twice(model, request, pools=_pools(picture)))
    images = picture.real("mm_ipc_gpu_memory_gb")
    if images:
        yield Beside("mm_ipc", Term(images, 0.0, "--mm-ipc-gpu-memory-gb"))


def _host(picture: Picture, gpus: int) -> Iterator[Beside]:
    """Yield what of the host's memory is taken, for all GPUs together."""
    offloaded = picture.real("cpu_offload_gb")
    if offloaded:
        yield Beside("cpu_offload", Term(offloaded * gpus, 0.0, "weights, locked in memory"))
    cached = picture.real("kv_offloading_size")
    if cached:
        yield Beside("kv_offload", Term(cached, 0.0, "KV cache, locked in memory"))


def _refusal(picture: Picture, model: Model, request: PlanRequest, ground: Ground) -> str:
    method = (request.quantization or "").lower()
    large = has_heads(model) and model.vocab_size > MOST_VOCABULARY
    if picture.switch("enable_lora") and large:
        return f"LoRA takes a vocabulary of {MOST_VOCABULARY} at most, this has {model.vocab_size}"
    own = model.quantization_config
    stated = str(own.get("quant_algo") or own.get("quant_method") or method).lower()
    families = ("nvfp4", "mxfp4", "awq", "gptq", "fp8")
    weights = next((family for family in families if family in stated), stated)
    return _wrong_context_split(model, request, parallel_of(picture).decode_context) or (
        refused_by_card(
            ground.capability,
            request.version,
            dtype=request.dtype,
            kv_cache_dtype=request.kv_cache_dtype,
            weights=weights,
        )
    )


def _wrong_context_split(model: Model, request: PlanRequest, parts: int) -> str:
    """Check as config/model.py and config/parallel.py of vLLM 0.11..0.33 do."""
    tp = request.tensor_parallel_size
    if parts <= 1:
        return ""
    if tp % parts:
        return f"tensor_parallel_size {tp} does not divide by decode_context_parallel_size {parts}"
    heads = [layer.kv_heads for layer in model.layers if layer.keeps is Keeps.TOKENS]
    if heads and parts > max(1, tp // max(heads)):
        return (
            f"decode_context_parallel_size {parts} is more than the {max(1, tp // max(heads))} "
            f"copies that {tp} GPUs keep of {max(heads)} heads of keys and values"
        )
    return ""
