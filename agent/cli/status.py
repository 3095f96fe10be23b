# SPDX-License-Identifier: Apache-2.0
"""`llmagent status`: what each service is about, why, and how the GPUs are.

--format json prints status.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.cli.status_gpus import gpu_lines
from agent.core.judges.recover.recovery import shortened
from agent.errors import DaemonAwayError, UsageError

FILE = Path("/run/llmagent/status.json")
FRESH_SECONDS = 30.0
"""The daemon writes at least every second; an older file is that of a daemon that died or hangs."""

WATCH_SECONDS = 1.0
WIDE = 1000
COLOUR = {
    "serving": 32,
    "held": 31,
    "examining": 31,
    "stopped": 33,
    "proven": 32,
    "contradicted": 31,
}


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser("status", help="phase, progress, verification, last decision")
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="only this service")
    parser.add_argument("--watch", action="store_true", help="show it again every second")
    parser.add_argument("--format", choices=("human", "json"), default="human")
    parser.add_argument("--file", type=Path, default=FILE, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the daemon's latest view; exit status 3 when there is no live daemon."""
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    while True:
        document = read(args.file)
        if args.service is not None:
            document = _only(document, args.service)
        # A pipe has no width: 80 columns would break lines that nobody looks at.
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
        text = (
            json.dumps(document)
            if args.format == "json"
            else render(document, colour=colour, width=width)
        )
        if args.watch and colour:
            print("\x1b[H\x1b[2J", end="")
        print(text, flush=True)
        if not args.watch:
            return 0
        time.sleep(WATCH_SECONDS)


def read(file: Path) -> dict[str, Any]:
    """Return status.json; raises DaemonAwayError when it is absent, old or unreadable."""
    try:
        document = json.loads(file.read_text())
    except FileNotFoundError:
        raise DaemonAwayError(
            f"the daemon is not running ({file} is absent): `systemctl start llmagent`"
        ) from None
    except (OSError, ValueError) as error:
        raise DaemonAwayError(f"{file} cannot be read: {error}") from error
    age = time.time() - float(document["at_seconds"])
    if age > FRESH_SECONDS:
        raise DaemonAwayError(
            f"the daemon has written nothing for {age:.0f} s: see `systemctl status llmagent`"
        )
    return dict(document)


def _only(document: dict[str, Any], service: str) -> dict[str, Any]:
    if service not in document["services"]:
        known = ", ".join(document["services"]) or "none"
        raise UsageError(f'there is no service "{service}"; configured: {known}')
    only = {**document, "services": {service: document["services"][service]}}
    if "gpus" in document:
        only["gpus"] = [gpu for gpu in document["gpus"] if service in gpu["services"]]
    return only


def render(document: dict[str, Any], *, colour: bool, width: int = WIDE) -> str:
    """Return the view for a person; lines about GPUs are no wider than `width`."""
    lines: list[str] = []
    if not document["config_valid"]:
        lines += [
            f"agent.toml is refused, the last good one is in force: {document['config_error']}"
        ]
    down = [s for s in document["sources"] if not s["up"]]
    lines += [f"source {s['name']} is down: {s['detail']}" for s in down]
    if not document["services"]:
        lines.append("no service is configured: see agent.toml(5)")
    for service in document["services"].values():
        lines += _service(service, document["at_seconds"], colour=colour)
    for found in document["findings"]:
        whose = f" of {found['service']}" if found["service"] else ""
        lines.append(f"doctor: {found['check']}{whose}: {found['evidence']}")
    for pieces in gpu_lines(document, width):
        lines.append("".join(_paint(text, word, colour=colour) for text, word in pieces))
    return "\n".join(lines)


def _service(s: dict[str, Any], now: float, *, colour: bool) -> Iterator[str]:
    phase = _paint(s["phase"], s["phase"], colour=colour)
    since = f"{datetime.fromtimestamp(s['since_seconds']).astimezone():%Y-%m-%d %H:%M:%S}"
    yield f"{s['unit']}  {phase} since {since} ({_duration(now - s['since_seconds'])})"
    yield f"  reason    {s['reason']}"
    if s["held"]:
        yield f"  to do     {s['held']['what_to_do']}"
    if s["phase"] == "starting":
        yield f"  start     {_progress(s)}"
    if s["phase"] == "fetching" and s["progress"]:
        p = s["progress"]
        yield f"  fetch     {p['what']} {p['done']:.0%}: {p['detail']}"
    if s["url"] and s["phase"] in ("serving", "verifying"):
        yield f"  address   {s['url']}  process {s['main_pid']}"
    if s["api"]:
        usage = s["api"]["kv_cache_usage"]
        kv = "" if usage is None else f", KV cache {usage:.1%}"
        yield f"  requests  {s['api']['running']} running, {s['api']['waiting']} waiting{kv}"
    yield from _not_as_asked(s)
    if s["pending_restart"]:
        names = ", ".join(s["pending_restart"])
        yield f"  pending   {names}: in force at the next start (`systemctl reload llmagent`)"
    if s["failure"]:
        f = s["failure"]
        at = f"{datetime.fromtimestamp(f['at_seconds']).astimezone():%Y-%m-%d %H:%M:%S}"
        yield f"  failure   {f['class']} at {at}: {f['remedy']}"
        for line in f["evidence"][:3]:
            yield f"            | {shortened(line)}"
    for check in s["verification"]:
        verdict = _paint(f"{check['verdict']:<12}", check["verdict"], colour=colour)
        note = f"  ({check['note']})" if check["note"] else ""
        yield f"  {verdict} {check['item']}: asked {check['asked']}, got {check['got']}{note}"
    for path in s["drop_ins"]:
        yield f"  drop-in   {path}"


def _not_as_asked(s: dict[str, Any]) -> Iterator[str]:
    plan = s.get("plan")
    if plan and plan["verdict"] != "fits" and s["phase"] != "serving":
        yield f"  plan      {plan['verdict']}: {plan['reason']}"
    back = s.get("rolled_back")
    if back:
        at = f"{datetime.fromtimestamp(back['since_seconds']).astimezone():%Y-%m-%d %H:%M}"
        yield f"  rolled back since {at}: the last known good settings run, because {back['why']}"
    for name, o in s["overrides"].items():
        asked = "default" if o["asked"] is None else o["asked"]
        at = f"{datetime.fromtimestamp(o['since_seconds']).astimezone():%Y-%m-%d %H:%M}"
        running = f"asked {asked}, running {o['running']} since {at}"
        yield f"  learned   {name}: {running}, because {o['why']}"


def _progress(s: dict[str, Any]) -> str:
    p = s["progress"]
    if not p:
        return str(s["engine_phase"])
    done = "" if p["done"] is None else f" {p['done']:.0%}"
    return " ".join(
        part for part in (f"{s['engine_phase']}: {p['what']}{done}", p["detail"]) if part
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


def _paint(text: str, word: str, *, colour: bool) -> str:
    return f"\x1b[{COLOUR[word]}m{text}\x1b[0m" if colour and word in COLOUR else text
