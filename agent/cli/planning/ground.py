# SPDX-License-Identifier: Apache-2.0
"""The ground of a plan: the card, the release of vLLM, and what was measured on this host."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.cli.planning.subject import Subject
from agent.core.engine.defaults import NEWEST
from agent.core.gpu.catalogue import CardFacts, card_named, sold_as
from agent.core.measures import GIB
from agent.core.planner.asked.capability import Capability, capability_of
from agent.core.planner.asked.reading import Ground
from agent.core.planner.question import Measured, PlanRequest
from agent.core.planner.versions import version_of
from agent.errors import UsageError
from agent.host.data.cards import card_or_mistake, known_cards
from agent.host.models.draft import draft_of

MOST_GIB = 100_000
OTHER_MODEL = ("config_json", "model", "weights_gib", "gpu_memory_gib", "gpu", "gpu_name")
"""Options of plan's own that make another start of it than the one that this host has seen."""

SAME_MODEL = frozenset(
    {
        *("max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization"),
        *("kv_cache_dtype", "kv_cache_memory_bytes", "enforce_eager", "enable_prefix_caching"),
    }
)
"""Options of vLLM that leave the weights as they are."""

_RELEASE = r"v?\d+\.\d+(\.\d+)?([a-z.+-].*)?"


def ground_of(args: argparse.Namespace, subject: Subject) -> tuple[Ground, CardFacts | None]:
    """Return the ground, and what is known of the card; raises UsageError for what is no number."""
    status = _status(args.status)
    memory_gib, name, capability = _card(args, status)
    facts = card_named(name, known_cards()) if name else None
    if capability is None and facts is not None:
        capability = facts.compute_capability
    request = PlanRequest(
        gpu_memory_gib=memory_gib,
        version=version_of(_release(args.vllm_version) or subject.version),
        weights_gib=_gib(args.weights_gib, "--weights-gib", "no model's size"),
        files_gib=subject.files_gib,
        free_gib=_gib(args.free_gib, "--free-gib", "no free memory"),
        measured=_measured(args, subject, status),
        gpu_name=name,
    )
    return Ground(request, capability, draft_of(subject.picture, subject.home)), facts


def notes_on_memory(args: argparse.Namespace) -> tuple[str, ...]:
    """Return a note where the number typed is the one a card is sold with."""
    gib = None if args.gpu is not None else _number(args.gpu_memory_gib)
    sold = sold_as(gib, known_cards().values()) if gib is not None else None
    if sold is None:
        return ()
    return (
        f"a card sold with {sold.sold_gb:g} GB shows less: {sold.name} {sold.usable_gib:g} GiB; "
        f"--gpu NAME takes what the driver shows",
    )


def _release(text: str | None) -> str | None:
    if text is None:
        return None
    newest = ".".join(map(str, NEWEST[:2]))
    if not re.fullmatch(_RELEASE, text):
        raise UsageError(f"--vllm-version {text} is no release; write it as {newest}")
    if version_of(text).release[:2] > NEWEST[:2]:
        raise UsageError(f"--vllm-version {text}: the newest release known here is {newest}")
    return text


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _gib(text: str | None, option: str, otherwise: str) -> float | None:
    if text is None:
        return None
    value = _number(text)
    if value is None:
        raise UsageError(f"{option} {text} is not a number of GiB, as 23.5")
    if not 0 < value < MOST_GIB or not math.isfinite(value):
        raise UsageError(f"{option} {value:g} is {otherwise}")
    return value


def _card(
    args: argparse.Namespace, status: Mapping[str, Any]
) -> tuple[float, str, Capability | None]:
    """Return GiB, name and capability of the card that is planned for."""
    if args.gpu is not None:
        facts = card_or_mistake(args.gpu)
        given = _gib(args.gpu_memory_gib, "--gpu-memory-gib", "no card's memory")
        return given or facts.usable_gib, facts.name, facts.compute_capability
    name: str = args.gpu_name or ""
    given = _gib(args.gpu_memory_gib, "--gpu-memory-gib", "no card's memory")
    if given is not None:
        return given, name, None
    if name:
        facts = card_or_mistake(name)
        return facts.usable_gib, name, facts.compute_capability
    return _smallest_card(status)


def _status(file: Path) -> Mapping[str, Any]:
    """Return what the running agent shows, nothing where there is none."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _smallest_card(status: Mapping[str, Any]) -> tuple[float, str, Capability | None]:
    """Return the smallest card here; raises UsageError where none is seen."""
    cards = status.get("gpus") or ()
    sizes = [
        (
            card["memory"]["total_bytes"] - (card["memory"].get("reserved_bytes") or 0),
            str(card["name"] or ""),
            str(card.get("compute_capability") or ""),
        )
        for card in cards
        if card.get("memory")
    ]
    if not sizes:
        raise UsageError(
            "the agent sees no GPU here: name a card with --gpu NAME, or give its memory with "
            "--gpu-memory-gib"
        )
    size, name, capability = min(sizes)
    return float(size) / GIB, name, capability_of(capability)


def _measured(args: argparse.Namespace, subject: Subject, status: Mapping[str, Any]) -> Measured:
    """Return what vLLM printed when these settings served; the cache only if nothing is changed."""
    settings = subject.settings
    service = (status.get("services") or {}).get(settings.name) if settings is not None else None
    proven = service.get("proven") if service else None
    other = any(getattr(args, name) is not None for name in (*OTHER_MODEL, "vllm_version"))
    if not proven or other or subject.given - SAME_MODEL:
        return Measured()
    changed = bool(subject.given)
    return Measured(
        weights_gib=proven["weights_gib"],
        cuda_graph_gib=None if changed else proven["cuda_graph_gib"],
        available_kv_gib=None if changed else proven["available_kv_gib"],
        when=_day(proven.get("at_seconds")),
    )


def _day(at: object) -> str:
    """Return the day of a Unix time, "" where none was noted."""
    if not isinstance(at, int | float) or at <= 0:
        return ""
    try:
        return datetime.fromtimestamp(at, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return ""
