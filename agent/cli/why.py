# SPDX-License-Identifier: Apache-2.0
"""`llmagent why [SERVICE]`: the last cause, what was done, and what a person must do.

--format json prints {"services": {NAME: {"phase", "reason", "what_to_do", "failure": {"class",
"at_seconds", "remedy", "evidence": [line]} | null}}}. Exit status 0, or 1 when no failure is
remembered and nothing is held; 3 when the daemon is away.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.cli import status
from agent.cli.screen.options import add_format
from agent.cli.screen.services import cluster_lines, steering_lines
from agent.cli.screen.terminal import coloured, columns, duration, local, paint
from agent.core.failures.shown import shortened
from agent.core.plain import plain_values
from agent.places import STATUS_FILE

MOST_COLUMNS = 100
"""A sentence is read more easily in lines that are not as wide as the terminal."""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "why",
        help="the last cause, what was done, what you must do",
        epilog="Examples: `llmagent why`, `llmagent why vllm --format json`.",
    )
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="only this service")
    add_format(parser)
    parser.add_argument("--file", type=Path, default=STATUS_FILE, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Say why each service is as it is."""
    document = status.read(args.file)
    if args.service is not None:
        document = status.only(document, args.service)
    services = document["services"]
    if args.format == "json":
        print(json.dumps({"services": {name: _shape(s) for name, s in services.items()}}, indent=2))
    else:
        told_of = "\n\n".join(told(document, colour=coloured()))
        print(told_of or "no service is configured: see agent.toml(5)")
    return 0 if any(s["failure"] or s["held"] for s in services.values()) else 1


def told(document: Mapping[str, Any], *, colour: bool) -> Iterator[str]:
    """Yield what a person should know of each service, from status.json."""
    for s in plain_values(document["services"]).values():
        yield "\n".join(_lines(s, document["at_seconds"], colour=colour))


def _shape(s: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "phase": s["phase"],
        "reason": s["reason"],
        "what_to_do": s["held"]["what_to_do"] if s["held"] else "",
        "failure": s["failure"],
    }


def _lines(s: Mapping[str, Any], now: float, *, colour: bool) -> Iterator[str]:
    phase = paint(s["phase"], s["phase"], colour=colour)
    age = duration(now - s["since_seconds"])
    yield f"{s['name']} is {phase} since {local(s['since_seconds'])} ({age})"
    yield from _told("because", s["reason"])
    yield from steering_lines(s)
    yield from cluster_lines(s, now)
    failure = s["failure"]
    if failure is None:
        yield from _told("failures", "none is remembered")
    else:
        yield from _told("failed", f"{local(failure['at_seconds'])}, {failure['class']}")
        for line in failure["evidence"][:3]:
            yield f"            | {shortened(line)}"
        yield from _told("done", failure["remedy"])
    if s["held"]:
        yield from _told("to do", s["held"]["what_to_do"])


def _told(label: str, text: str) -> Iterator[str]:
    head = f"  {label:<9} "
    width = min(columns(), MOST_COLUMNS)
    yield from textwrap.wrap(
        text or "-", width, initial_indent=head, subsequent_indent=" " * len(head)
    )
