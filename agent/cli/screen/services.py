# SPDX-License-Identifier: Apache-2.0
"""The services in `llmagent status`: one line each, and below it what is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent.cli.screen.terminal import cut, duration, local, paint
from agent.core.failures.shown import shortened
from agent.core.measures import GIB
from agent.core.view.needs import contradicted

EVIDENCE_LINES = 3
ANSWERS = frozenset({"verifying", "serving"})
"""Phases in which the address is one that answers."""


def service_lines(
    services: Mapping[str, Mapping[str, Any]], now: float, width: int, *, colour: bool
) -> Iterator[str]:
    """Yield a line a service, and indented below it what a person should know of it."""
    names = max((len(name) for name in services), default=0)
    phases = max((len(s["phase"]) for s in services.values()), default=0)
    for name, s in services.items():
        head = f"{name:<{names}}  {s['phase']:<{phases}}  {duration(now - s['since_seconds']):<10}"
        line = cut(f"{head}  {_now(s, now)}".rstrip(), width)
        yield line.replace(s["phase"], paint(s["phase"], s["phase"], colour=colour), 1)
        yield from (cut(line, width) for line in cluster_lines(s, now))
        yield from _remarks(s, width, colour=colour)


def detail_lines(s: Mapping[str, Any], now: float, *, colour: bool) -> Iterator[str]:
    """Yield everything that is known of one service."""
    phase = paint(s["phase"], s["phase"], colour=colour)
    since = s["since_seconds"]
    yield f"{s['unit']}  {phase} since {local(since)} ({duration(now - since)})"
    yield f"  reason    {s['reason']}"
    yield from steering_lines(s)
    yield from cluster_lines(s, now)
    if s["held"]:
        yield f"  to do     {s['held']['what_to_do']}"
    if s["phase"] == "starting":
        yield f"  start     {_start(s, now)}"
    if s["phase"] == "fetching" and s["progress"]:
        p = s["progress"]
        yield f"  fetch     {p['what']} {p['done']:.0%}: {p['detail']}"
    if s["url"] and s["phase"] in ANSWERS:
        yield f"  address   {s['url']}  process {s['main_pid']}"
    if s["api"]:
        yield f"  requests  {_requests(s['api'])}"
    if read := s.get("read_ahead"):
        yield f"  ahead     {_read_ahead(read)}"
    yield from _not_as_asked(s)
    if s["failure"]:
        f = s["failure"]
        yield f"  failure   {f['class']} at {local(f['at_seconds'])}: {f['remedy']}"
        for line in f["evidence"][:EVIDENCE_LINES]:
            yield f"            | {shortened(line)}"
    for check in s["verification"]:
        verdict = paint(f"{check['verdict']:<12}", check["verdict"], colour=colour)
        note = f"  ({check['note']})" if check["note"] else ""
        yield f"  {verdict} {check['item']}: asked {check['asked']}, got {check['got']}{note}"
    for path in s["drop_ins"]:
        yield f"  drop-in   {path}"


def steering_lines(s: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an operator has asked for and what is so until it is over."""
    if pause := s.get("paused"):
        until = f"until {local(pause['until_seconds'], '%H:%M on %Y-%m-%d')}"
        end = f"`llmagent resume {s['name']}` ends it"
        yield f"  paused    {until}, by {pause['by']}: watched, told of, and left alone; {end}"
    if planned := s.get("planned_restart"):
        due = local(planned["due_seconds"], "%Y-%m-%d %H:%M")
        yield f"  restart   {planned['what']} (from {due} on), asked for by {planned['by']}"
    if drain := s.get("drain"):
        due = local(drain["due_seconds"], "%H:%M:%S")
        yield f"  drain     {drain['what']}, at {due} at the latest, asked for by {drain['by']}"


def cluster_lines(s: Mapping[str, Any], now: float) -> Iterator[str]:
    """Yield how it stands with the hosts that serve together: one line, and one a peer."""
    view = s.get("cluster")
    if not view:
        return
    role = "head" if view["head"] else f"member {view['member']}"
    of = f"{role} of {view['hosts']} hosts, {view['stance']} in generation {view['generation']}"
    cause = view["cause"]
    why = "" if cause is None else f", begun {_begun(cause)}"
    yield f"  group     {of}{why}"
    for peer in view["peers"]:
        name = peer["host"] or peer["address"].partition("://")[2]
        if peer["answers"]:
            same = peer["generation"] == view["generation"]
            of = "" if same else f" in generation {peer['generation']}"
            runs = peer["stance"] in ("serving", "running")
            slow = f", slow: {peer['held_back']}" if peer.get("held_back") else ""
            more = slow if runs else f": {peer['reason']}"
            yield f"  peer      {name} {peer['stance']}{of}{more}"
        else:
            seen = peer["seen_seconds"]
            since = f"for {duration(now - seen)}" if seen else "yet"
            yield f"  peer      {name} does not answer {since}: {peer['problem']}"


def _begun(cause: Mapping[str, Any]) -> str:
    at = local(cause["at_seconds"], "%Y-%m-%d %H:%M:%S")
    where = f"on {cause['host']} " if cause["host"] else ""
    return f"{where}at {at}: {cause['sentence']}"


def _now(s: Mapping[str, Any], now: float) -> str:
    if s["phase"] == "serving":
        return _requests(s["api"]) if s["api"] else str(s["reason"])
    if s["phase"] == "starting":
        return _start(s, now)
    if s["phase"] == "fetching" and s["progress"]:
        return f"{s['progress']['what']} {s['progress']['done']:.0%}: {s['progress']['detail']}"
    return str(s["reason"])


def _requests(api: Mapping[str, Any]) -> str:
    usage = api["kv_cache_usage"]
    kv = "" if usage is None else f", KV cache {usage:.1%}"
    return f"{api['running']} running, {api['waiting']} waiting{kv}"


def _read_ahead(read: Mapping[str, Any]) -> str:
    at = local(read["at_seconds"], "%Y-%m-%d %H:%M")
    size, done = read["size_bytes"] / GIB, read["read_bytes"] / GIB
    why = f" ({read['stopped']})" if read["stopped"] else ""
    share = f"{read['resident_ratio']:.0%} of {size:.1f} GiB in {read['files']} files"
    return f"at {at} {share} that a start reads were in memory, {done:.1f} GiB were read{why}"


def _remarks(s: Mapping[str, Any], width: int, *, colour: bool) -> Iterator[str]:
    yield from (cut(line, width) for line in steering_lines(s))
    if s["held"]:
        yield f"  to do     {s['held']['what_to_do']}"
    for check in contradicted(s):
        verdict = paint("contradicted", "contradicted", colour=colour)
        yield f"  {verdict} {check['item']}: asked {check['asked']}, got {check['got']}"
    unknown = [check["item"] for check in s["verification"] if check["verdict"] == "unknown"]
    if unknown:
        yield cut(f"  unknown   {', '.join(unknown)}", width)
    yield from (cut(line, width) for line in _not_as_asked(s))


def _not_as_asked(s: Mapping[str, Any]) -> Iterator[str]:
    plan = s.get("plan")
    if plan and plan["verdict"] != "fits" and s["phase"] != "serving":
        yield f"  plan      {plan['verdict']}: {plan['reason']}"
    back = s.get("rolled_back")
    if back:
        at = local(back["since_seconds"], "%Y-%m-%d %H:%M")
        yield f"  rolled back since {at}: the last known good settings run, because {back['why']}"
    for name, o in s["overrides"].items():
        asked = "default" if o["asked"] is None else o["asked"]
        at = local(o["since_seconds"], "%Y-%m-%d %H:%M")
        running = f"asked {asked}, running {o['running']} since {at}"
        yield f"  learned   {name}: {running}, because {o['why']}"
    if s.get("hang_detection_off"):
        yield f"  watch     hang detection is off: {s['hang_detection_off']}"
    if s["pending_restart"]:
        names = ", ".join(s["pending_restart"])
        yield f"  pending   {names}: in force at the next start (`systemctl reload llmagent`)"


def _start(s: Mapping[str, Any], now: float) -> str:
    """Return "compiling, 12 s of usually 8", with the progress that vLLM shows, if it shows any."""
    stage, p = s.get("stage"), s["progress"]
    doing = stage["doing"] if stage else str(s["engine_phase"])
    if p:
        done = "" if p["done"] is None else f" {p['done']:.0%}"
        doing = " ".join(part for part in (f"{doing}: {p['what']}{done}", p["detail"]) if part)
    if not stage:
        return doing
    usual = stage["usual_seconds"]
    of = "" if usual is None else f" of usually {usual:.0f}"
    return f"{doing}, {max(0.0, now - stage['since_seconds']):.0f} s{of}"
