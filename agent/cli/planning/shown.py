# SPDX-License-Identifier: Apache-2.0
"""One plan as a table for a person, and as the documented JSON."""

from __future__ import annotations

import json

from agent.core.command.parallel import Parallel
from agent.core.gpu.catalogue import CardFacts
from agent.core.planner.asked.ask import Beside
from agent.core.planner.model import Model
from agent.core.planner.plan import terms
from agent.core.planner.question import Fit, Plan
from agent.core.planner.roof import decode_roof
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a plan; `roof` in tokens a second for one request, None when not known."""

    model: Model
    plan: Plan
    split: Parallel
    advice: tuple[str, ...]
    notes: tuple[str, ...] = ()
    host: tuple[Beside, ...] = ()
    card: CardFacts | None = None

    @property
    def is_refused(self) -> bool:
        """Whether vLLM would not come to sharing out memory, so that no figure means anything."""
        return bool(self.plan.refusal) or self.plan.request.utilization > 1

    @property
    def roof(self) -> float | None:
        """Tokens a second that the memory's bandwidth allows one request."""
        starts = not self.is_refused and self.plan.available_kv_gib > 0
        if self.card is None or not starts:
            return None
        request = self.plan.request
        bandwidth = self.card.bandwidth_bytes_per_second
        try:
            return decode_roof(
                self.model, request.quantization, bandwidth, request.tensor_parallel_size
            )
        except (UnknownQuantizationError, ZeroDivisionError):
            return None


def json_of(shown: Shown) -> str:
    """Return the documented JSON; a start that vLLM refuses has no cache in it."""
    plan, refused = shown.plan, shown.is_refused
    request, roof = plan.request, shown.roof
    shape = {
        "verdict": plan.verdict.value,
        "reason": plan.reason,
        "weights_gib": round(plan.loaded_gib, 3),
        "activation_gib": round(plan.activation.gib, 3),
        "non_torch_gib": round(plan.non_torch.gib, 3),
        "cuda_graph_gib": round(plan.cuda_graphs.gib, 3),
        "available_kv_gib": 0.0 if refused else round(plan.available_kv_gib, 3),
        "error_gib": round(plan.error_gib, 3),
        "needed_kv_gib": round(plan.needed_kv_gib, 3),
        "kv_bytes_per_token": round(plan.kv.bytes_per_token),
        "kv_tokens": 0 if refused else plan.kv_tokens,
        "max_concurrency": 0.0 if refused else round(plan.max_concurrency, 2),
        "max_model_len": plan.max_model_len,
        "largest_max_model_len": 0 if refused else plan.largest_max_model_len,
        "terms": [] if refused else terms(plan),
        "advice": list(shown.advice),
        "notes": list(shown.notes),
        "not_known": list(request.asked.not_known),
        "gpus": shown.split.gpus,
        "gpu": {"name": request.gpu_name, "memory_gib": round(request.gpu_memory_gib, 3)},
        "host_memory": [
            {"name": item.name, "gib": round(item.term.gib, 3), "how": item.term.how}
            for item in shown.host
        ],
        "decode_roof_tokens_per_second": None if roof is None else round(roof, 1),
    }
    return json.dumps(shape, indent=2)


def in_short(plan: Plan | None) -> dict[str, object] | None:
    """Return what the JSON of a deployment tells of its plan."""
    if plan is None:
        return None
    return {
        "verdict": plan.verdict.value,
        "reason": plan.reason,
        "available_kv_gib": round(plan.available_kv_gib, 2),
        "max_concurrency": round(plan.max_concurrency, 2),
    }


def human(shown: Shown) -> str:
    """Return the same as a table for a person."""
    plan, request = shown.plan, shown.plan.request
    lines = [_headline(shown), ""]
    if not shown.is_refused:
        hopeless = plan.verdict is Fit.DOES_NOT_FIT and plan.available_kv_gib <= 0
        left_out = ("available_kv", "not_used") if hopeless else ()
        for row in terms(plan):
            if row["name"] in left_out:
                continue
            error = f"± {row['error_gib']:.2f}" if row["error_gib"] else ""
            lines.append(f"  {row['name']:<18}{row['gib']:>9.2f} GiB {error:<7} {row['how']}")
        lines.append("")
        if not hopeless:
            lines.append(_cache(plan))
    lines += [
        f"Host memory: {item.term.gib:.2f} GiB for {item.name}: {item.term.how}"
        for item in shown.host
    ]
    if shown.roof is not None and shown.card is not None:
        gigabytes = shown.card.bandwidth_bytes_per_second / 1e9
        lines.append(
            f"Decoding: at most {shown.roof:.0f} tokens/s for one request, the bandwidth roof "
            f"({gigabytes:g} GB/s of {shown.card.name}, weights read once a token); less in truth"
        )
    lines.append(f"{plan.verdict.value}: {plan.reason}")
    lines += [f"  - {sentence}" for sentence in shown.advice]
    lines += [f"Note: {note}" for note in (*request.asked.notes, *shown.notes)]
    return "\n".join(lines)


def _headline(shown: Shown) -> str:
    request, split = shown.plan.request, shown.split
    each = " (each of them)" if split.gpus > 1 else ""
    release = ".".join(map(str, request.version.release))
    card = f" {request.gpu_name}" if request.gpu_name else ""
    return (
        f"{shown.model.architecture} on {split.gpus} x{card} {request.gpu_memory_gib:g} GiB{each}, "
        f"vLLM {release}, gpu_memory_utilization {request.utilization:g}"
    )


def _cache(plan: Plan) -> str:
    if plan.encoder_only:
        return "KV cache: none, an encoder keeps nothing of a request"
    if not plan.known:
        return "KV cache: not known, this family was never measured"
    return (
        f"KV cache: {plan.kv.bytes_per_token:,.0f} bytes a token, {plan.kv_tokens:,} tokens, "
        f"{plan.max_concurrency:.2f} requests of {plan.max_model_len:,} tokens at once; "
        f"the longest request that fits has {plan.largest_max_model_len:,}"
    )
