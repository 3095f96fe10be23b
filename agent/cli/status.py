# SPDX-License-Identifier: Apache-2.0
"""`llmagent status`: whether all is well, then a line a service and a line a GPU.

With SERVICE or --verbose everything that is known, each proof too. --format json prints
status.json. Exit status 0, and 3 when the daemon is away; with --check 1 when a service (or
SERVICE) does not serve. With --hosts a line for each of several hosts, asked over the exporter's
port; 3 when one does not answer, with --check 1 when one has none or a service does not serve.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.cli.fleet.asking import add_hosts, show_hosts
from agent.cli.screen.gpus import gpu_lines
from agent.cli.screen.headline import headline
from agent.cli.screen.options import add_format
from agent.cli.screen.services import detail_lines, service_lines
from agent.cli.screen.terminal import (
    WHOLE_SCREEN,
    WIDE,
    coloured,
    columns,
    cut,
    paint,
    whole_screen,
)
from agent.cli.screen.unwatched import unwatched
from agent.core.plain import plain_values
from agent.core.view.needs import NOT_YET
from agent.errors import DaemonAwayError, UsageError
from agent.places import STATUS_FILE

FRESH_SECONDS = 30.0
"""The daemon writes at least every second; an older file is that of a daemon that died or hangs."""

WATCH_SECONDS = 1.0


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "status",
        help="whether all is well: a line a service, a line a GPU",
        epilog="Examples: `llmagent status`, `llmagent status vllm` with every proof, "
        "`llmagent status --check vllm && echo serving`, `llmagent status --watch`, "
        "`llmagent status --hosts gpu-01,gpu-02` for several hosts in one table.",
    )
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="all about this service")
    parser.add_argument("--verbose", "-v", action="store_true", help="all about every service")
    parser.add_argument("--watch", action="store_true", help="the whole screen, every second")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 when a service does not serve"
    )
    add_hosts(parser)
    add_format(parser)
    parser.add_argument("--file", type=Path, default=STATUS_FILE, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the daemon's latest view; exit status 3 when there is no live daemon."""
    if args.hosts is not None or args.hosts_file is not None:
        return show_hosts(args)
    if args.watch and sys.stdout.isatty() and args.format == "human":
        return _watch(args)
    while True:
        document = _document(args)
        if args.format == "json":
            print(json.dumps(document), flush=True)
        else:
            print(_screen(document, args), flush=True)
        if not args.watch:
            return 1 if args.check and not serves(document) else 0
        time.sleep(WATCH_SECONDS)


def _watch(args: argparse.Namespace) -> int:
    """Show the view until Ctrl-C; an agent that restarts is waited for."""
    with WHOLE_SCREEN:
        while True:
            try:
                text = _screen(_document(args), args)
            except DaemonAwayError as error:
                text = f"{error}; waiting for it"
            whole_screen(text)
            time.sleep(WATCH_SECONDS)


def _document(args: argparse.Namespace) -> dict[str, Any]:
    document = read(args.file)
    return document if args.service is None else only(document, args.service)


def _screen(document: dict[str, Any], args: argparse.Namespace) -> str:
    everything = args.verbose or args.service is not None
    shown = render(document, colour=coloured(), width=columns(), everything=everything)
    dropped = () if args.service is not None else unwatched(document["services"])
    return "\n".join((shown, *dropped))


def serves(document: dict[str, Any]) -> bool:
    """Tell whether there is a service and all of them serve."""
    services = document["services"].values()
    return bool(services) and all(s["phase"] == "serving" for s in services)


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


def only(document: dict[str, Any], service: str) -> dict[str, Any]:
    """Return the view of one service and its cards; raises UsageError when it is not there."""
    if service not in document["services"]:
        known = ", ".join(document["services"]) or "none"
        raise UsageError(f'there is no service "{service}"; configured: {known}')
    only = {**document, "services": {service: document["services"][service]}}
    if "gpus" in document:
        only["gpus"] = [gpu for gpu in document["gpus"] if service in gpu["services"]]
    return only


def render(
    document: dict[str, Any], *, colour: bool, width: int = WIDE, everything: bool = True
) -> str:
    """Return the view for a person; what has a line of its own is cut to `width`."""
    document = plain_values(document)
    first, word = headline(document)
    lines = [paint(cut(first, width), word, colour=colour)]
    if not document["config_valid"]:
        lines += [
            f"agent.toml is refused, the last good one is in force: {document['config_error']}"
        ]
    lines += _down(document, everything=everything)
    lines += _untold(document)
    if not document["services"]:
        lines.append("no service is configured: `llmagent init` proposes one, see agent.toml(5)")
    now = document["at_seconds"]
    if everything:
        for service in document["services"].values():
            lines += detail_lines(service, now, colour=colour)
    else:
        lines += service_lines(document["services"], now, width, colour=colour)
    for found in document["findings"]:
        whose = f" of {found['service']}" if found["service"] else ""
        lines.append(f"doctor: {found['check']}{whose}: {found['evidence']}")
    for pieces in gpu_lines(document, width, everything=everything):
        lines.append("".join(paint(text, word, colour=colour) for text, word in pieces))
    return "\n".join(lines)


def _untold(document: dict[str, Any]) -> Iterator[str]:
    """Yield what did not reach anybody."""
    notify = document.get("notify") or {"problem": "", "heartbeat_problem": ""}
    if notify["problem"]:
        yield f"notify: {notify['unsent']} messages could not be sent: {notify['problem']}"
    if notify["heartbeat_problem"]:
        yield f"notify: the dead-man's switch was not reached: {notify['heartbeat_problem']}"


def _down(document: dict[str, Any], *, everything: bool) -> Iterator[str]:
    for source in document["sources"]:
        if not source["up"] and source["detail"] != NOT_YET:
            yield f"source {source['name']} is down: {source['detail']}"
        elif not source["up"] and everything:
            yield f"source {source['name']}: {NOT_YET}"
