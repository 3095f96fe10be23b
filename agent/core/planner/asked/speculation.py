# SPDX-License-Identifier: Apache-2.0
"""What speculative decoding takes: a drafter's weights, its layers' cache, blocks for its states.

As vLLM 0.20..0.33 builds it (config/speculative.py, v1/spec_decode): n-grams take no GPU memory,
MTP adds layers of the model's own kind, a drafter of its own brings weights and a cache, Medusa
weights alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.core.command.picture import Picture
from agent.core.measures import GIB
from agent.core.planner.asked.ask import DRAFTER, Asked, Beside
from agent.core.planner.layers import Feed, Keeps, Layer
from agent.core.planner.model import Model
from agent.core.planner.overheads import Term
from agent.core.planner.plan import weights_of
from agent.core.planner.question import PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError, format_of
from agent.core.record import dataclass

NO_MEMORY = frozenset({"ngram", "ngram_gpu", "suffix", "[ngram]"})
"""Methods that look into the prompt alone."""

OWN_DRAFTERS = frozenset({"draft_model", "eagle", "eagle3", "dflash", "medusa"})
"""Methods whose drafter is a model with a config.json of its own."""

FEWEST_BITS = 8
"""Layers that draft are quantized to no fewer bits than these."""

_GROWS = (Keeps.TOKENS, Keeps.LATENT)


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafter whose config.json is known; `files_gib` of its weights where they are here."""

    model: Model
    files_gib: float | None = None


@dataclass(frozen=True, slots=True)
class Speculation:
    """What is asked: `method` in vLLM's words, `model` the drafter's name, tokens ahead."""

    method: str
    model: str | None
    tokens: int


def speculation_of(picture: Picture) -> Speculation | None:
    """Read --speculative-config, or --spec-method, --spec-model and --spec-tokens."""
    table: Mapping[str, Any] = picture.table("speculative_config")
    given = {
        "method": table.get("method") or picture.text("spec_method"),
        "model": table.get("model") or picture.text("spec_model"),
    }
    tokens = table.get("num_speculative_tokens") or picture.whole("spec_tokens") or 0
    if not table and not any(given.values()):
        return None
    method, model = (str(value) if value else None for value in given.values())
    if method is None:
        method = _by_name(model or "")
    count = tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else 0
    return Speculation(method.lower(), model, max(0, count))


def _by_name(model: str) -> str:
    """Return the method that vLLM takes unasked, by the drafter's name."""
    if model.lower() in NO_MEMORY:
        return model.lower()
    for word in ("eagle3", "eagle", "medusa", "dflash", "mtp"):
        if word in model.lower():
            return word
    return "draft_model"


def with_speculation(
    asked: Asked, speculation: Speculation, model: Model, request: PlanRequest, draft: Draft | None
) -> Asked:
    """Return what is asked with the drafter in it."""
    method = speculation.method
    asked = replace(asked, draft_tokens=speculation.tokens)
    if method in NO_MEMORY:
        return asked
    if method.endswith("mtp"):
        return _with_own_layers(asked, model, request)
    if method not in OWN_DRAFTERS:
        why = f"--speculative-config: what {method} takes is not reckoned with"
        return replace(asked, not_known=(*asked.not_known, why))
    if draft is None:
        name = speculation.model or "the drafter"
        why = f"--speculative-config: the config.json of {name} is not known here"
        return replace(asked, not_known=(*asked.not_known, why))
    if method == "medusa" and draft.files_gib is None:
        weights = _heads(draft.model, request)
    else:
        # DFlash reads and writes words with the matrices of the model that it drafts for.
        wordless = replace(draft.model, vocab_size=1) if method == "dflash" else draft.model
        plain = replace(
            request, weights_gib=None, files_gib=draft.files_gib, quantization=None, asked=Asked()
        )
        weights = weights_of(wordless, plain)
    error = weights.error_gib + (0.3 * weights.gib if method != "draft_model" else 0.0) + 0.2
    term = Term(weights.gib, error, f"weights of the drafter: {weights.how}")
    return replace(
        asked,
        # Medusa's heads read the last hidden state and keep nothing.
        draft_layers=() if method == "medusa" else draft.model.layers,
        beside=(*asked.beside, Beside(DRAFTER, term)),
    )


def _heads(draft: Model, request: PlanRequest) -> Term:
    """Medusa: heads of square layers, each with an output head of its own (MedusaConfig)."""
    square = len(draft.layers) * draft.hidden_size**2
    numbers = draft.heads * (square + draft.hidden_size * draft.vocab_size)
    gib = numbers * draft.dtype_bytes / request.tensor_parallel_size / GIB
    return Term(gib, 0.02 * gib, f"{draft.heads} heads over {draft.vocab_size} words")


def _with_own_layers(asked: Asked, model: Model, request: PlanRequest) -> Asked:
    """MTP: layers of the checkpoint like the model's last one, and a matrix that joins two."""
    count = model.mtp_layers or 1
    layers = _drafting(model) * count
    plain = replace(request, weights_gib=None, files_gib=None, asked=Asked())
    stored = model
    if _bits(model, request) < FEWEST_BITS:
        # Checkpoints in 4 bits leave them in 16: one of Qwen3.5-122B's prints 4.7 GiB.
        stored, plain = replace(model, quantization_config={}), replace(plain, quantization=None)
    whole = replace(stored, layers=(*stored.layers, *layers))
    more = weights_of(whole, plain).gib - weights_of(stored, plain).gib
    joined = 2 * model.hidden_size**2 * model.dtype_bytes * count / GIB
    gib = more + joined / request.tensor_parallel_size
    # Some bring an embedding of their own.
    term = Term(gib, 0.4 * gib + 0.2, f"{count} layer(s) that draft, counted as the last one")
    return replace(
        asked,
        draft_layers=layers,
        beside=(*asked.beside, Beside(DRAFTER, term)),
    )


def _bits(model: Model, request: PlanRequest) -> float:
    try:
        return format_of(model, request.quantization).bits
    except UnknownQuantizationError:
        return FEWEST_BITS


def _drafting(model: Model) -> tuple[Layer, ...]:
    """Return the layers of one step of drafting: one that attends, and experts where it has none.

    Nemotron's layers attend or have experts, and what drafts has one of each
    (mtp_hybrid_override_pattern "*E"): 5.6 GiB of Nemotron-3-Super's 512 experts in 16 bits (0.20).
    """
    last = _last_that_attends(model)
    if model.experts is None or last.feed is not Feed.NOTHING:
        return (last,)
    experts = [layer for layer in model.layers if layer.feed is Feed.EXPERTS]
    return (last, experts[-1]) if experts else (last,)


def _last_that_attends(model: Model) -> Layer:
    layers = [layer for layer in model.layers if layer.keeps in _GROWS] or list(model.layers)
    # DeepSeek-V4's keeps a window and no more.
    return replace(layers[-1], compress=0, index_bytes=0) if layers[-1].compress else layers[-1]
