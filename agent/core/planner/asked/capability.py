# SPDX-License-Identifier: Apache-2.0
"""What a card's compute capability rules out, as vLLM's own checks have it (0.33)."""

from __future__ import annotations

from agent.core.numerals import whole_number
from agent.core.planner.versions import Version

Capability = tuple[int, int]

WITHOUT_BFLOAT16: Capability = (8, 0)
"""Below this --dtype bfloat16 is refused (platforms/cuda.py); "auto" becomes float16."""

FP8_CACHE: Capability = (8, 0)
"""FlashInfer reads such a cache from here, Triton from 8.9, FlashAttention from 9.0 (V1 engine,
v1/attention/backends); below it no backend does."""

FP8_WEIGHTS: Capability = (7, 5)
FP8_WEIGHTS_BEFORE: Capability = (8, 0)
FP8_ON_TURING = (0, 31)
"""From this release (the oldest read that has it) Marlin runs FP8 weights on 7.5, too."""

OLDEST_BUILT: Capability = (7, 5)
WITHOUT_VOLTA = (0, 20)
"""From here vLLM's wheels are built with CUDA 13, which has no code for cards before 7.5."""

LOWEST = {"awq": (7, 5), "nvfp4": (7, 5), "mxfp4": (8, 0), "gptq": (6, 0)}
"""The lowest capability of a method (get_min_capability of model_executor/layers/quantization)."""


def capability_of(text: str | None) -> Capability | None:
    """Read "8.9" as NVML tells it; None for anything else."""
    major, dot, minor = (text or "").partition(".")
    first, second = whole_number(major), whole_number(minor)
    return None if first is None or second is None or not dot else (first, second)


def refused_by_card(
    capability: Capability | None,
    version: Version,
    *,
    dtype: str | None,
    kv_cache_dtype: str,
    weights: str,
) -> str:
    """Return why a card of this capability cannot run this, "" where it can or is not known.

    `weights` is the family of their format: fp8, awq, gptq, nvfp4, mxfp4, or anything else.
    """
    if capability is None:
        return ""
    card = f"a card of compute capability {capability[0]}.{capability[1]}"
    if capability < OLDEST_BUILT and version.release >= WITHOUT_VOLTA:
        return f"{card} is older than what vLLM is built for since 0.20: take 0.19 or an older one"
    if dtype == "bfloat16" and capability < WITHOUT_BFLOAT16:
        return f"{card} has no bfloat16: dtype float16, or leave it out"
    if kv_cache_dtype.startswith(("fp8", "nvfp4")) and capability < FP8_CACHE:
        return f"{card} reads no KV cache in {kv_cache_dtype}: kv_cache_dtype auto"
    lowest = LOWEST.get(weights)
    if weights == "fp8":
        lowest = FP8_WEIGHTS if version.release >= FP8_ON_TURING else FP8_WEIGHTS_BEFORE
    if lowest is not None and capability < lowest:
        return f"{card} runs no {weights} weights, which take {lowest[0]}.{lowest[1]}"
    return ""
