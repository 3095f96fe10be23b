# SPDX-License-Identifier: Apache-2.0
"""The first line of a screen: whether all is well, and if not, what needs a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.cli.screen.terminal import local
from agent.core.view.needs import needs_a_person


def headline(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the line and the word of its colour: "well", "not yet" or "wrong"."""
    services = document["services"]
    wrong = [need.what for need in needs_a_person(document)]
    paused = pause_words(document)
    tail = f"; {paused}" if paused else ""
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return f"needs you: {wrong[0]}{more}{tail}", "wrong"
    away = [f"{name} is {s['phase']}" for name, s in services.items() if s["phase"] != "serving"]
    if away:
        return f"not serving: {', '.join(away)}{tail}", "not yet"
    if paused:
        return paused, "not yet"
    cards = len(document.get("gpus", ()))
    told = [_count(len(services), "service"), *([_count(cards, "GPU")] if cards else [])]
    return f"all is well: {' and '.join(told)}" if services else "no service is configured", "well"


def pause_words(document: Mapping[str, Any]) -> str:
    """Return what is paused and until when, for the first line of every screen; "" for nothing."""
    if host := document.get("paused"):
        until = local(host["until_seconds"], "%H:%M on %Y-%m-%d")
        return f"paused until {until} by {host['by']}: llmagent does not act"
    names = [name for name, s in document["services"].items() if s.get("paused")]
    return f"paused: {', '.join(names)}, where llmagent does not act" if names else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
