# SPDX-License-Identifier: Apache-2.0
"""The ground of a plan: the card, the release of vLLM, and what was measured on this host."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.cli.planning.here import (
    SAME_MODEL,
    Seen,
    as_it_served,
    day,
    proven_of,
    read_status,
    smallest_card,
)
from agent.cli.planning.subject import Subject
from agent.core.engine.defaults import NEWEST
from agent.core.gpu.catalogue import CardFacts, card_named, sold_as
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.earlier.start import EarlierStart, from_cache_of
from agent.core.planner.model import Model
from agent.core.planner.question import Measured, PlanRequest
from agent.core.planner.versions import version_of
from agent.errors import UsageError
from agent.host.data.cards import card_or_mistake, known_cards
from agent.host.models.draft import draft_of

MOST_GIB = 100_000
OTHER_MODEL = ("config_json", "model", "weights_gib", "gpu_memory_gib", "gpu", "gpu_name")
"""Options of plan's own that make another start of it than the one that this host has seen."""

_RELEASE = r"v?\d{1,9}\.\d{1,9}(\.\d{1,9})?([a-z.+-].*)?"


def ground_of(args: argparse.Namespace, subject: Subject) -> tuple[Ground, CardFacts | None]:
    """Return the ground, and what is known of the card; raises UsageError for what is no number."""
    status = read_status(args.status)
    card = _card(args, status, _name_of(subject))
    name, capability = card.name, card.capability
    facts = card_named(name, known_cards()) if name else None
    if capability is None and facts is not None:
        capability = facts.compute_capability
    request = PlanRequest(
        gpu_memory_gib=card.usable_gib,
        version=version_of(release_or_mistake(args.vllm_version) or subject.version),
        weights_gib=_gib(args.weights_gib, "--weights-gib", "no model's size"),
        files_gib=subject.files_gib,
        free_gib=_gib(args.free_gib, "--free-gib", "no free memory") or card.free_gib,
        measured=_measured(args, subject, proven_of(status, _name_of(subject))),
        gpu_name=name,
    )
    return Ground(request, capability, draft_of(subject.picture, subject.home)), facts


def notes_on_memory(args: argparse.Namespace, ground: Ground) -> tuple[str, ...]:
    """Return a note where others hold part of the card, or it is typed as it is sold."""
    request = ground.request
    if request.free_gib is not None and args.free_gib is None:
        held = request.gpu_memory_gib - request.free_gib
        return (
            f"others hold {held:.2f} GiB of the card now; --free-gib {request.gpu_memory_gib:.1f} "
            f"plans without them",
        )
    gib = None if args.gpu is not None else _number(args.gpu_memory_gib)
    sold = sold_as(gib, known_cards().values()) if gib is not None else None
    if sold is None:
        return ()
    return (
        f"a card sold with {sold.sold_gb:g} GB shows less: {sold.name} {sold.usable_gib:g} GiB; "
        f"--gpu NAME takes what the driver shows",
    )


def release_or_mistake(text: str | None) -> str | None:
    """Return the release that --vllm-version names; raises UsageError for what is none."""
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


def _card(args: argparse.Namespace, status: Mapping[str, Any], service: str | None) -> Seen:
    """Return the card that is planned for."""
    given = _gib(args.gpu_memory_gib, "--gpu-memory-gib", "no card's memory")
    if args.gpu is not None:
        facts = card_or_mistake(args.gpu)
        return Seen(given or facts.usable_gib, facts.name, facts.compute_capability)
    name: str = args.gpu_name or ""
    if given is not None:
        return Seen(given, name, None)
    if name:
        facts = card_or_mistake(name)
        return Seen(facts.usable_gib, name, facts.compute_capability)
    return smallest_card(status, service)


def _measured(
    args: argparse.Namespace, subject: Subject, proven: Mapping[str, Any] | None
) -> Measured:
    """Return what vLLM printed when these settings served; the cache only if nothing is changed."""
    if not proven or not _same_model(args, subject):
        return Measured()
    changed = bool(subject.given)
    return Measured(
        weights_gib=proven["weights_gib"],
        cuda_graph_gib=None if changed else proven["cuda_graph_gib"],
        available_kv_gib=None if changed else proven["available_kv_gib"],
        when=day(proven.get("at_seconds")),
        from_cache=from_cache_of(proven.get("compiled_graphs")),
    )


def _same_model(args: argparse.Namespace, subject: Subject) -> bool:
    other = any(getattr(args, name) is not None for name in (*OTHER_MODEL, "vllm_version"))
    return not other and not subject.given - SAME_MODEL


def earlier_start(
    args: argparse.Namespace, subject: Subject, model: Model, ground: Ground
) -> EarlierStart | None:
    """Return the service's last good start, where the plan is of other settings of its model."""
    proven = proven_of(read_status(args.status), _name_of(subject))
    if not proven or subject.before is None or not subject.given:
        return None
    if not _same_model(args, subject) or proven["available_kv_gib"] is None:
        return None
    plain = replace(ground, request=replace(ground.request, measured=Measured()))
    then = request_of(as_it_served(subject.before, proven), model, plain)
    printed = Measured(
        proven["weights_gib"],
        available_kv_gib=proven["available_kv_gib"],
        from_cache=from_cache_of(proven.get("compiled_graphs")),
    )
    return EarlierStart(then, printed, day(proven.get("at_seconds")))


def _name_of(subject: Subject) -> str | None:
    return None if subject.settings is None else subject.settings.name
