# SPDX-License-Identifier: Apache-2.0
"""Rungs that change what a start peaks at, or what one request needs: lengths, batches, graphs."""

from __future__ import annotations

from agent.core.command.given import Place
from agent.core.command.picture import picture_of
from agent.core.engine.install import release_of
from agent.core.remedy.case import Case, Change
from agent.core.remedy.utilization import NAME as UTILIZATION

ROUND_LEN = 256
"""max_model_len is shortened to a multiple of this, above every block size in use."""

CHUNKED_SINCE = (0, 8)
"""Chunked prefill is on by default; without it a batch must hold a whole request."""

CAPTURE_SIZE_SINCE = (0, 11, 2)
LARGEST_CAPTURE = 512
SMALLEST_CAPTURE = 8
CAPTURE_OPTIONS = (
    *("max_cudagraph_capture_size", "cudagraph_capture_sizes", "cuda_graph_sizes"),
    *("compilation_config", "optimization_level"),
)
"""vLLM refuses a capture size beside these (0.11.2..0.32)."""


def shorten_to_what_fits(case: Case) -> Change | None:
    """Shorten max_model_len to vLLM's own estimate, or to the tokens that the cache holds."""
    estimate, tokens = case.numbers.estimated_max_model_len, case.numbers.kv_tokens
    needed, available = case.numbers.needed_kv_gib, case.numbers.available_kv_gib
    current = case.max_model_len
    if estimate is not None:
        why = f"vLLM estimates {estimate} tokens as the longest request that fits"
        return _shorten(case, estimate, why)
    if tokens is not None:
        return _shorten(case, tokens, f"the KV cache holds {tokens} tokens")
    if needed and available is not None and current is not None:
        fits = int(current * max(0.0, available) / needed)
        why = f"{available:g} of the {needed:g} GiB that one request needs are available"
        return _shorten(case, fits, why)
    return None


def shorten_where_bounds_meet(case: Case) -> Change | None:
    """Halve max_model_len where less memory was too little for it and more was too much."""
    current = case.max_model_len
    if current is None or case.bound(UTILIZATION).too_low is None:
        return None
    return _shorten(case, current // 2, "less memory is too little for it, more is too much")


def _shorten(case: Case, length: int, why: str) -> Change | None:
    value, current = length // ROUND_LEN * ROUND_LEN, case.max_model_len
    if value < case.recovery.min_max_model_len or (current is not None and value >= current):
        return None
    return Change("max_model_len", value, f"{why}: {current or 'default'} -> {value}")


def seqs_to_bound(case: Case) -> Change | None:
    """Lower max_num_seqs to the number that vLLM prints."""
    bound, current = case.numbers.mamba_blocks, case.running.max_num_seqs
    if bound is None or bound < case.recovery.min_max_num_seqs:
        return None
    if current is not None and bound >= current:
        return None
    return Change("max_num_seqs", bound, f"vLLM names {bound} as the most that fit")


def half_the_seqs(case: Case) -> Change | None:
    """Halve max_num_seqs."""
    return _fewer_seqs(case, case.max_num_seqs // 2, "half of the sequences that it peaks with")


def a_quarter_of_the_seqs(case: Case) -> Change | None:
    """Lower max_num_seqs to a quarter, as the sampler's warm-up grows with it directly."""
    return _fewer_seqs(case, case.max_num_seqs // 4, "a quarter of the sequences it warms up with")


def _fewer_seqs(case: Case, value: int, why: str) -> Change | None:
    current = case.max_num_seqs
    value = max(value, case.recovery.min_max_num_seqs)
    if value >= current:
        return None
    return Change("max_num_seqs", value, f"{why}: {current} -> {value}")


def half_the_batch(case: Case) -> Change | None:
    """Halve max_num_batched_tokens, as far as vLLM accepts it beside the other settings."""
    current = case.max_num_batched_tokens
    floor = max(case.recovery.min_max_num_batched_tokens, case.max_num_seqs)
    if not _prefills_in_chunks(case):
        floor = max(floor, case.max_model_len or current)
    value = max(current // 2, floor)
    if value >= current:
        return None
    why = "half of the batch that it peaks with"
    return Change("max_num_batched_tokens", value, f"{why}: {current} -> {value}")


def batch_to_the_block(case: Case) -> Change | None:
    """Raise max_num_batched_tokens to the block size that vLLM prints as its least."""
    block, current = case.numbers.block_size, case.numbers.max_num_batched_tokens
    if block is None or current is None or block <= current:
        return None
    why = f"one block of {block} tokens must fit into a batch: {current} -> {block}"
    return Change("max_num_batched_tokens", block, why)


def _prefills_in_chunks(case: Case) -> bool:
    if case.running.enable_chunked_prefill is not None:
        return case.running.enable_chunked_prefill
    release = release_of(case.vllm_version or "")
    return not release or release >= CHUNKED_SINCE


def smaller_graphs(case: Case) -> Change | None:
    """Capture CUDA graphs of a quarter of the batch sizes."""
    release = release_of(case.vllm_version or "")
    if case.running.enforce_eager or release < CAPTURE_SIZE_SINCE:
        return None
    given = picture_of(case.running).options
    if any(name in given and given[name].place is not Place.KEY for name in CAPTURE_OPTIONS):
        return None
    default = min(LARGEST_CAPTURE, 2 * case.max_num_seqs)
    current = case.running.max_cudagraph_capture_size or default
    value = current // 4
    if value < SMALLEST_CAPTURE:
        return None
    why = "a quarter of the batch sizes that CUDA graphs are captured for"
    return Change("max_cudagraph_capture_size", value, f"{why}: {current} -> {value}")


def no_graphs(case: Case) -> Change | None:
    """Do without CUDA graphs, where that is allowed."""
    if case.running.enforce_eager or not case.recovery.allow_enforce_eager:
        return None
    return Change("enforce_eager", True, "CUDA graphs do not fit: run without them")


def no_graphs_when_repeated(case: Case) -> Change | None:
    """Give up the riskiest option on the second time within the hour."""
    if case.repeats < 2 or case.running.enforce_eager or not case.recovery.allow_enforce_eager:
        return None
    why = f"{case.repeats} times within the hour: run without CUDA graphs"
    return Change("enforce_eager", True, why)
