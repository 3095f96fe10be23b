# SPDX-License-Identifier: Apache-2.0
"""A GPU's memory and vLLM's arithmetic on it.

The engine refuses to start when less is free than it is allowed to take, and what is left after
weights and activations is the KV cache (vLLM 0.9..0.32).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.numbers import Numbers
from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from agent.core.failures.meaning import transient
from agent.core.settings.service import Settings
from agent.core.state.unit import UnitFacts

F = FailureClass


@dataclass
class Card:
    """A GPU: sizes in GiB; `others` is what strangers hold, `graphs` come on top of the rest."""

    total: float = 24.0
    others: float = 0.5
    weights: float = 15.0
    activation: float = 1.5
    kv_gib_per_1024_tokens: float = 0.125
    graphs: float = 0.0


def failure_at_start(card: Card, settings: Settings) -> tuple[FailureClass, Numbers] | None:
    """Return how vLLM's start with these settings ends on this card, None when it succeeds."""
    utilization = settings.gpu_memory_utilization or 0.92
    free, wanted = card.total - card.others, utilization * card.total
    if free < wanted:
        numbers = Numbers(
            free_gib=free, total_gib=card.total, utilization=utilization, wanted_gib=wanted
        )
        return F.OOM_FREE_MEM_STARTUP, numbers
    if card.weights > free:
        return F.OOM_WEIGHTS_LOAD, Numbers(total_gib=card.total)
    kv = wanted - card.weights - card.activation
    if kv <= 0:
        return F.OOM_KV_NONE, Numbers(available_kv_gib=kv, total_gib=card.total)
    needed = (settings.max_model_len or 32768) / 1024 * card.kv_gib_per_1024_tokens
    if needed > kv:
        estimate = int(kv / card.kv_gib_per_1024_tokens * 1024)
        numbers = Numbers(
            needed_kv_gib=needed,
            available_kv_gib=kv,
            estimated_max_model_len=estimate,
            max_model_len=settings.max_model_len or 32768,
            total_gib=card.total,
        )
        return F.OOM_KV_TOO_SMALL_FOR_MAXLEN, numbers
    graphs = card.graphs * (settings.max_cudagraph_capture_size or 512) / 512
    if not settings.enforce_eager and wanted + graphs > free:
        return F.OOM_GRAPH_CAPTURE, Numbers(tried_gib=graphs, total_gib=card.total)
    return None


def diagnosis_of(failure: FailureClass | None, numbers: Numbers, phase: EnginePhase) -> Diagnosis:
    return Diagnosis(
        vllm_version="0.32.0",
        outcome=Outcome.FAILED if failure is not None else Outcome.UNKNOWN,
        failure=failure,
        phase=phase,
        evidence=(f"the line that shows {failure}",),
        transient=None if failure is None else transient(failure),
        numbers=numbers,
        facts=Facts(),
        also=(),
        progress=None,
    )


def computed(
    units: Mapping[str, UnitFacts], services: Iterable[str], seconds: float
) -> dict[str, UnitFacts]:
    """Return the units of these services after they used that much of a processor."""
    used = {name: (units[name].cpu_seconds or 0.0) + seconds for name in services}
    return {name: replace(units[name], cpu_seconds=total) for name, total in used.items()}
