# SPDX-License-Identifier: Apache-2.0
"""Several plans side by side: cards and counts, formats of one model, contexts and users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.cli.planning.shown import Shown
from agent.core.command.given import Given
from agent.core.command.parallel import parallel_of
from agent.core.command.picture import Picture
from agent.core.gpu.catalogue import CardFacts
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.earlier.start import EarlierStart, plan_after
from agent.core.planner.model import Model
from agent.core.planner.question import Fit, Measured
from agent.core.record import dataclass
from agent.host.models.known import usual_copy

COUNTS = (1, 2, 4, 8)
"""GPUs of one host that are tried."""

CONTEXT = 8192
USERS = (1, 4, 16, 64, 256)
SHORTEST_CONTEXT = 2048

FORMATS: Mapping[str, Mapping[str, Any]] = {
    "16 bits": {},
    "FP8": {"quant_method": "fp8"},
    "AWQ or GPTQ, 4 bits": {"quant_method": "awq", "bits": 4, "group_size": 128},
    "NVFP4": {"quant_method": "modelopt_fp4"},
}
"""Checkpoints of one model as they are commonly published, in the words of config.json."""

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Question:
    """A model with the options that are asked, on a ground."""

    model: Model
    picture: Picture
    ground: Ground
    card: CardFacts | None = None
    earlier: EarlierStart | None = None
    """A start of other settings of this model that served here."""

    def with_options(self, **options: object) -> Question:
        """Return the same question with other values of options."""
        given = {name: Given(name, value, name) for name, value in options.items()}  # type: ignore[arg-type]
        picture = replace(self.picture, options={**self.picture.options, **given})
        return replace(self, picture=picture)

    def answer(self) -> Shown:
        """Return the plan; raises UnknownQuantizationError when the weights cannot be counted."""
        request = request_of(self.picture, self.model, self.ground)
        plan = plan_after(self.model, request, self.earlier)
        return Shown(self.model, plan, parallel_of(self.picture), (), card=self.card)


def _row(shown: Shown) -> Row:
    plan, refused, roof = shown.plan, shown.is_refused, shown.roof
    fails = refused or plan.verdict is Fit.DOES_NOT_FIT
    return {
        "verdict": plan.verdict.value,
        "reason": plan.reason,
        "weights_gib": round(plan.loaded_gib, 2),
        "available_kv_gib": 0.0 if refused else round(plan.available_kv_gib, 2),
        "kv_tokens": 0 if fails else plan.kv_tokens,
        "max_model_len": plan.max_model_len,
        "max_concurrency": 0.0 if fails else round(plan.max_concurrency, 1),
        "largest_max_model_len": 0 if refused else plan.largest_max_model_len,
        "decode_roof_tokens_per_second": None if roof is None else round(roof, 1),
    }


def cards_table(
    question: Question, cards: Sequence[CardFacts], prices: Mapping[str, float]
) -> list[Row]:
    """Return a row for each card and count of it that vLLM can split the model over."""
    if question.picture.whole("max_model_len") is None:
        question = question.with_options(max_model_len=min(CONTEXT, question.model.max_position))
    rows: list[Row] = []
    for card in cards:
        request = replace(
            question.ground.request,
            gpu_memory_gib=card.usable_gib,
            gpu_name=card.name,
            measured=Measured(),
            free_gib=None,
        )
        ground = replace(question.ground, request=request, capability=card.compute_capability)
        on_card = replace(question, ground=ground, card=card)
        for count in COUNTS[:1] if card.unified else COUNTS:
            shown = on_card.with_options(tensor_parallel_size=count).answer()
            if shown.plan.refusal and count > 1:
                continue
            row: Row = {"card": card.name, "count": count, "memory_gib": card.usable_gib}
            if prices:
                price = prices.get(card.name)
                row["price"] = None if price is None else round(price * shown.split.gpus, 4)
            rows.append({**row, "gpus": shown.split.gpus, **_row(shown)})
    if prices:
        rows.sort(key=lambda row: (row["price"] is None, row["price"] or 0.0))
    return rows


def formats_table(question: Question) -> list[Row]:
    """Return a row for each common format of the model's weights and of its KV cache."""
    own = question.model.quantization_config
    request = replace(
        question.ground.request, files_gib=None, weights_gib=None, measured=Measured()
    )
    elsewhere = replace(question.ground, request=request)
    formats = [("as it is", own, question.ground)] if own else []
    kind = question.model.architecture
    formats += [(name, usual_copy(kind, words), elsewhere) for name, words in FORMATS.items()]
    rows: list[Row] = []
    for name, words, ground in formats:
        model = replace(question.model, quantization_config=words)
        for cache in ("auto", "fp8"):
            asked = replace(question, model=model, ground=ground, earlier=None)
            asked = asked.with_options(quantization=None, kv_cache_dtype=cache)
            rows.append({"format": name, "kv_cache_dtype": cache, **_row(asked.answer())})
    return rows


def sweep_table(question: Question) -> list[Row]:
    """Return a row for each context from 2 Ki tokens to the model's own, doubled each time.

    `users` says for numbers of requests at once how many tokens each can have.
    """
    most = question.model.max_position
    return [
        {"context": length, **_row(question.with_options(max_model_len=length).answer())}
        for length in _lengths(most)
    ]


def users_table(question: Question) -> list[Row]:
    """Return for numbers of requests at once the longest that each can be."""
    shown = question.with_options(max_model_len=-1).answer()
    plan = shown.plan
    return [
        {
            "users": users,
            "longest": plan.kv.longest(plan.pool_bytes / users, shown.model.max_position),
        }
        for users in USERS
    ]


def _lengths(most: int) -> Iterator[int]:
    length = SHORTEST_CONTEXT
    while length < most:
        yield length
        length *= 2
    yield most
