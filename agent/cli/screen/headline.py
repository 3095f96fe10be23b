# SPDX-License-Identifier: Apache-2.0
"""The first line of a screen: whether all is well, and if not, what needs a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent.cli.screen.services import contradicted
from agent.cli.screen.terminal import local
from agent.core.doctor.finding import Result

NOT_YET = "not looked yet"
"""What a source says of itself until its first look (`agent.daemon.sources.thread`)."""


def headline(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the line and the word of its colour: "well", "not yet" or "wrong"."""
    services = document["services"]
    wrong = list(needs_a_person(document))
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


def needs_a_person(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield in a few words what llmagent cannot mend by itself, worst first."""
    for name, s in document["services"].items():
        if s["phase"] == "held":
            yield f"{name} is held: {s['reason']}"
    for gpu in document.get("gpus", ()):
        if gpu["lost"]:
            yield f"GPU {gpu['index']} is lost"
        elif gpu["ailment"] is not None:
            yield str(gpu["ailment"]["why"])
    if document.get("driver", {}).get("mismatch"):
        yield "the driver's library and module differ: the next start of vLLM fails"
    if not document["config_valid"]:
        yield "agent.toml is refused, the last good one is in force"
    for name, s in document["services"].items():
        if items := [str(check["item"]) for check in contradicted(s)]:
            yield f"{name} does not run as asked: {', '.join(items)}"
    for found in document["findings"]:
        if found["result"] == Result.FAIL:
            yield f"doctor: {found['check']}: {found['evidence']}"
    for source in document["sources"]:
        if not source["up"] and source["detail"] != NOT_YET:
            yield f"source {source['name']} is down: {source['detail']}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
