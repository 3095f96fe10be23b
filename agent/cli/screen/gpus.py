# SPDX-License-Identifier: Apache-2.0
"""The GPUs in `llmagent status`: one line a card, more only for what is not as it should be."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from agent.cli.screen.terminal import local
from agent.core.measures import DAY_SECONDS, GIB

HARMLESS = frozenset(
    {
        "gpu_idle",
        "applications_clocks_setting",
        "sw_power_cap",
        "sync_boost",
        "display_clock_setting",
    }
)
"""Reasons for lower clocks that a card in good health gives, most of all under a power limit."""

NOT_WELL = frozenset({"degraded", "blocked", "yielded"})

Paint = str
"""The word whose colour a piece of text is shown in; "" for none."""

Piece = tuple[str, Paint]


def gpu_lines(
    document: dict[str, Any], width: int, *, everything: bool = True
) -> Iterator[list[Piece]]:
    """Yield the lines about driver and cards, each no wider than `width` where words allow it.

    Without `everything` a card is one line, with as many facts as it has room for.
    """
    if "gpus" not in document:
        return
    yield from _driver(document, width)
    for gpu in document["gpus"]:
        label = f"GPU {gpu['index']}  "
        if gpu["lost"]:
            yield [(f"{label}{gpu['name']}  ", ""), ("lost: NVML cannot reach it", "held")]
        elif not document["gpus_stale"] and not document["driver"]["problem"]:
            lines = list(_wrapped(label, _facts(gpu), width))
            yield from lines if everything or len(lines) == 1 else [_in_one_line(gpu, width)]
        else:
            yield [(f"{label}{gpu['name']}  not known", "")]
        yield from _remarks(gpu, document["at_seconds"], width)
    if document["gpus_nameless"]:
        yield from _remark(_nameless(document["gpus_nameless"]), "held", width)


def _nameless(count: int) -> str:
    cards = "1 more GPU is" if count == 1 else f"{count} more GPUs are"
    return f"{cards} counted by NVML that it cannot reach: lost before llmagent knew them"


def _driver(document: dict[str, Any], width: int) -> Iterator[list[Piece]]:
    driver = document["driver"]
    cuda = f"CUDA {driver['cuda_version']}" if driver["cuda_version"] else ""
    version = driver["module_version"] or driver["library_version"] or "none"
    yield from _wrapped("driver  ", [version, cuda], width)
    if driver["mismatch"]:
        text = (
            f"the library is {driver['library_version']}, the loaded module is "
            f"{driver['module_version']}: the next start of vLLM fails; reboot when it suits"
        )
        yield from _remark(text, "held", width)
    if driver["problem"]:
        yield from _remark(driver["problem"], "held", width)
    elif document["gpus_stale"]:
        since = document["gpus_sampled_seconds"]
        told = (
            f"has not answered for {document['at_seconds'] - since:.0f} s" if since else "is asked"
        )
        yield from _remark(f"NVML {told}", "held" if since else "", width)


def _facts(gpu: dict[str, Any]) -> Iterator[str]:
    yield gpu["name"]
    if gpu["temperature_celsius"] is not None:
        margin = gpu["margin_celsius"]
        left = "" if margin is None else f" ({margin:.0f} left)"
        yield f"{gpu['temperature_celsius']:.0f} °C{left}"
    if gpu["power_watts"] is not None:
        limit = gpu["power_limits"]["enforced_watts"]
        of = "" if limit is None else f"/{limit:.0f}"
        yield f"{gpu['power_watts']:.0f}{of} W"
    if "sm" in gpu["clocks_hertz"]:
        most = gpu["clocks_max_hertz"].get("sm")
        of = "" if most is None else f"/{most / 1e6:.0f}"
        yield f"{gpu['clocks_hertz']['sm'] / 1e6:.0f}{of} MHz"
    if gpu["utilization_ratio"] is not None:
        yield f"{gpu['utilization_ratio']:.0%} busy"
    if gpu["memory"] is not None:
        used, total = gpu["memory"]["used_bytes"], gpu["memory"]["total_bytes"]
        whose = " of the host" if gpu["memory_unified"] else ""
        yield f"{used / GIB:.1f}/{total / GIB:.1f} GiB{whose}"
    yield from _users(gpu)


def _in_one_line(gpu: dict[str, Any], width: int) -> list[Piece]:
    """Return the most telling facts of a card in their shortest form."""
    facts = [gpu["name"].removeprefix("NVIDIA ")]
    if gpu["temperature_celsius"] is not None:
        facts.append(f"{gpu['temperature_celsius']:.0f} °C")
    if gpu["power_watts"] is not None:
        facts.append(f"{gpu['power_watts']:.0f} W")
    if gpu["utilization_ratio"] is not None:
        facts.append(f"{gpu['utilization_ratio']:.0%}")
    if gpu["memory"] is not None:
        used, total = gpu["memory"]["used_bytes"], gpu["memory"]["total_bytes"]
        facts.append(f"{used / GIB:.0f}/{total / GIB:.0f} GiB")
    facts += (user.split()[0] for user in _users(gpu))
    if "sm" in gpu["clocks_hertz"]:
        facts.append(f"{gpu['clocks_hertz']['sm'] / 1e6:.0f} MHz")
    line = f"GPU {gpu['index']}  {facts[0]}"
    for fact in facts[1:]:
        if len(line) + 2 + len(fact) <= width:
            line += f"  {fact}"
    return [(line, "")]


def _users(gpu: dict[str, Any]) -> Iterator[str]:
    """Yield who has processes on the card, each once; those of no unit by their names."""
    users: dict[str, list[int | None]] = {}
    for process in gpu["processes"] or ():
        who = process["unit"].removesuffix(".service") or process["name"] or f"{process['pid']}"
        users.setdefault(who, []).append(process["used_bytes"])
    for who, sizes in users.items():
        known = [size for size in sizes if size is not None]
        yield f"{who} {sum(known) / GIB:.1f} GiB" if known else who


def _remarks(gpu: dict[str, Any], now: float, width: int) -> Iterator[list[Piece]]:
    reasons = [name for name in gpu["clock_events"] or () if name not in HARMLESS]
    if reasons and not gpu["lost"]:
        yield from _remark(f"slowed down: {', '.join(reasons)}", "stopped", width)
    if gpu["heat"] != "normal":
        yield from _remark(f"heat: {gpu['heat']}", "held", width)
    if gpu["power_limit"]["state"] in NOT_WELL:
        state, why = gpu["power_limit"]["state"], gpu["power_limit"]["why"]
        yield from _remark(f"power limit {state}: {why}", "stopped", width)
    if gpu["ailment"] is not None:
        yield from _remark(gpu["ailment"]["why"], "held", width)
        yield from _remark(f"to do: {gpu['ailment']['what_to_do']}", "", width)
    elif gpu["reset_required"]:
        yield from _remark("must be reset: `nvidia-smi -r`, or reboot", "held", width)
    if gpu["problem"]:
        yield from _remark(gpu["problem"], "stopped", width)
    for code, seen in gpu["xids"].items():
        if now - seen["last_seconds"] < DAY_SECONDS:
            at = local(seen["last_seconds"], "%H:%M:%S")
            yield from _remark(f"Xid {code}: {seen['count']} in all, last at {at}", "", width)


def _remark(text: str, paint: Paint, width: int) -> Iterator[list[Piece]]:
    indent = " " * 7
    for line in textwrap.wrap(text, max(20, width - len(indent)), break_long_words=False):
        yield [(indent, ""), (line, paint)]


def _wrapped(label: str, facts: Iterable[str], width: int) -> Iterator[list[Piece]]:
    """Put the facts beside the label, going on below it where they would be too wide."""
    line = label
    for fact in filter(None, facts):
        if len(line) > len(label) and len(line) + len(fact) > width:
            yield [(line.rstrip(), "")]
            line = " " * len(label)
        line += f"{fact}  "
    yield [(line.rstrip(), "")]
