# SPDX-License-Identifier: Apache-2.0
"""The format of the KV cache that vLLM takes where none is asked for, or another than is.

Read in models/config.py, platforms/cuda.py (_get_backend_priorities) and
layers/attention/mla_attention.py of 0.11..0.33.
"""

from __future__ import annotations

import re

from agent.core.planner.model import Model
from agent.core.planner.question import PlanRequest
from agent.core.planner.versions import KV_AS_CHECKPOINT, Version

AUTO, FP8, PACKED = "auto", "fp8", "fp8_ds_mla"

BLACKWELL_10 = re.compile(r"\bG?B[23]00\b")
"""Names of cards of compute capability 10.x."""

BLACKWELL_12 = re.compile(r"\bRTX PRO \d+ Blackwell|\bRTX 50\d0|\bGB10\b")
"""Those of 12.x."""

PLAIN_ON_10 = (0, 17)
"""From here FlashInfer reads sparse latents in fp8 on 10.x, a byte for each number; FlashMLA, there
before and on 9.0 to this day, has a format of its own."""

PACKED_ON_12 = (0, 24)
"""From here 12.x has a kernel for sparse latents, of FlashMLA's format alone, asked for or not."""

FIRST_SPARSE, NOT_UNASKED = "DeepseekV32", (0, 11, 1)
"""DeepSeek-V3.2 was cached in fp8 unasked before this release."""

FP8_UNASKED_ON_10 = {"GlmMoeDsa": (0, 32), "Glm5Next": (0, 33)}
"""GLM-5 and GLM-5.3-Flash: from these releases on."""


def cached_as(model: Model, request: PlanRequest) -> str:
    """Return the kv_cache_dtype that the start takes; "auto" where it follows the model's dtype."""
    asked, version, card = request.kv_cache_dtype.lower(), request.version, request.gpu_name
    if asked == AUTO and stores_fp8(model, version):
        asked = FP8
    sparse = any(layer.index_bytes for layer in model.layers) and model.latent is not None
    if not sparse:
        return asked
    if asked == AUTO and _is_fp8_unasked(model, version, card):
        asked = FP8
    packs_all = version.release >= PACKED_ON_12 and BLACKWELL_12.search(card)
    if asked == AUTO and packs_all:
        return PACKED
    if not asked.startswith(FP8):
        return asked
    plain = version.release >= PLAIN_ON_10 and BLACKWELL_10.search(card)
    return FP8 if plain else PACKED


def stores_fp8(model: Model, version: Version) -> bool:
    """Tell whether the checkpoint carries scales for a cache of fp8, and this release obeys."""
    own = model.quantization_config
    scaled = own.get("kv_cache_scheme") or own.get("kv_cache_quant_algo") == "FP8"
    return bool(scaled) and version.release >= KV_AS_CHECKPOINT


def _is_fp8_unasked(model: Model, version: Version, card: str) -> bool:
    if model.architecture.startswith(FIRST_SPARSE) and version.release < NOT_UNASKED:
        return True
    return bool(BLACKWELL_10.search(card)) and any(
        model.architecture.startswith(name) and version.release >= first
        for name, first in FP8_UNASKED_ON_10.items()
    )
