# SPDX-License-Identifier: Apache-2.0
"""Bytes of KV cache per token: measured from the log against the model's arithmetic."""

from __future__ import annotations

import math

from agent.core.diagnosis.facts import Facts
from agent.core.engine.names import dtype_bytes
from agent.core.measures import GIB
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.core.verify.check import NOT_ASKED, Check, Verdict, unknown
from agent.core.verify.model_shape import ModelShape

ITEM = "kv_bytes_per_token"
_PRINTED_GIB = 0.005
"""The log rounds GiB to two decimals."""
_CLOSE = 0.05
_FAR = 0.4
"""The next narrower or wider dtype is a factor of 2 away: this much off is another dtype."""


def kv_bytes_per_token(
    kv_dtype: str | None, running: Settings, log: Facts, shape: ModelShape | None
) -> Check | None:
    """Compare the KV memory a token takes on one GPU; the only proof that a kernel uses the dtype.

    One token takes 2 * layers * kv_heads * head_dim * bytes, layers split over pipeline ranks and
    heads over tensor ranks, at least one head each (vLLM 0.6..0.32). Models that are not uniform
    cannot be compared: their printed token count depends on max_model_len from 0.20 on and is too
    low before. None when nothing was asked and nothing can be compared.
    """
    asked = NOT_ASKED if kv_dtype is None else kv_dtype
    measured = _measured(log)
    if isinstance(measured, str) or shape is None or not shape.uniform:
        if kv_dtype is None:
            return None
        return unknown(ITEM, asked, _why_not(measured, shape))
    size = _bytes(kv_dtype, log, shape)
    if size is None:
        return unknown(ITEM, asked, f"{kv_dtype or log.kv_cache_dtype} has no fixed size")
    if measured.error > _CLOSE:
        return unknown(ITEM, asked, "the KV cache is too small for the log's two decimals")
    expected = _per_token(running, shape) * size
    off = measured.bytes_per_token / expected - 1
    asked = f"{expected} B" if kv_dtype is None else f"{expected} B ({kv_dtype})"
    got = f"{measured.bytes_per_token:.0f} B"
    if abs(off) <= _CLOSE + measured.error:
        return Check(ITEM, asked, got, Verdict.PROVEN, measured.evidence)
    if off > _FAR or off < -_FAR:
        return Check(ITEM, asked, got, Verdict.CONTRADICTED, measured.evidence)
    return Check(
        ITEM,
        asked,
        got,
        Verdict.UNKNOWN,
        measured.evidence,
        "no dtype gives this: the model has layers that config.json does not tell",
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    bytes_per_token: float
    error: float
    evidence: str


def _measured(log: Facts) -> _Measured | str:
    proofs = log.evidence_for("available_kv_gib"), log.evidence_for("kv_cache_tokens")
    if not log.available_kv_gib or not log.kv_cache_tokens or not all(proofs):
        return "the log does not tell the KV memory and its tokens"
    if log.available_kv_gib <= 0 or log.kv_cache_tokens <= 0:
        return "the log tells no KV memory"
    return _Measured(
        bytes_per_token=log.available_kv_gib * GIB / log.kv_cache_tokens,
        error=_PRINTED_GIB / log.available_kv_gib,
        evidence=f"{proofs[0]} / {proofs[1]}",
    )


def _why_not(measured: _Measured | str, shape: ModelShape | None) -> str:
    if isinstance(measured, str):
        return measured
    if shape is None:
        return "the model's config.json was not read"
    return "not comparable: the model's layers do not all keep the same cache"


def _bytes(kv_dtype: str | None, log: Facts, shape: ModelShape) -> int | None:
    """Return the bytes of one element, None for formats that keep scales beside the elements."""
    for name in (kv_dtype, log.kv_cache_dtype, log.dtype):
        if name is not None and name != "auto":
            return dtype_bytes(name)
    return shape.dtype_bytes


def _per_token(running: Settings, shape: ModelShape) -> int:
    layers = math.ceil(shape.layers / (running.pipeline_parallel_size or 1))
    heads = math.ceil(shape.kv_heads / (running.tensor_parallel_size or 1))
    return 2 * layers * heads * shape.head_dim
