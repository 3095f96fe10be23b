# SPDX-License-Identifier: Apache-2.0
"""`llmagent status --hosts`: the options that name hosts, and what is printed of them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.cli.fleet.table import Row, fleet_lines, row_of
from agent.cli.screen.terminal import WHOLE_SCREEN, coloured, columns, whole_screen
from agent.errors import AgentError, UsageError
from agent.host.web.peer import Asker, Credentials, credentials_of
from agent.tasks.fleet.ask_hosts import Asking, Told, hosts_of, named_in, names_in

WATCH_SECONDS = 5.0


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Add the options that name hosts."""
    parser.add_argument(
        "--hosts",
        metavar="HOST,...",
        help="a line for each of these hosts: HOST, HOST:PORT or https://HOST:PORT",
    )
    parser.add_argument(
        "--hosts-file", metavar="FILE", type=Path, help="more of them, in lines, # for comments"
    )
    parser.add_argument("--user", default="", help="the user in the hosts' web_config_file")
    parser.add_argument(
        "--password-file", metavar="FILE", type=Path, help="a file that holds that user's password"
    )
    parser.add_argument(
        "--ca-file", metavar="FILE", type=Path, help="certificates to trust besides the system's"
    )


def show_hosts(args: argparse.Namespace) -> int:
    """Ask the hosts and print the table; 3 when one does not answer, see `llmagent status`."""
    if args.service is not None:
        raise UsageError(f"--hosts shows hosts, not one service: leave {args.service!r} out")
    if args.password_file is not None and not args.user:
        raise UsageError("--password-file is for a --user")
    if ":" in args.user:
        raise UsageError(f"--user {args.user!r} holds a colon, which no user of HTTP may")
    names = names_in(args.hosts or "")
    if args.hosts_file is not None:
        names += named_in(args.hosts_file)
    hosts = hosts_of(names)
    asker = Asker(_credentials(args))
    if args.format == "json":
        texts = Asking(hosts, asker, _as_json)
        return _again_and_again(lambda: _json(texts.ask()), args)
    rows = Asking(hosts, asker, lambda told: (row_of(told), ""))
    if args.watch and sys.stdout.isatty():
        with WHOLE_SCREEN:
            while True:
                whole_screen(_table(rows.ask(), args)[0])
                time.sleep(WATCH_SECONDS)
    return _again_and_again(lambda: _table(rows.ask(), args), args)


def _again_and_again(
    look: Callable[[], tuple[str, Sequence[Row]]], args: argparse.Namespace
) -> int:
    while True:
        text, rows = look()
        print(text, flush=True)
        if not args.watch:
            return _exit_status(rows, check=args.check)
        time.sleep(WATCH_SECONDS)


def _credentials(args: argparse.Namespace) -> Credentials:
    try:
        return credentials_of(args.user, args.password_file, args.ca_file)
    except AgentError as error:
        raise UsageError(str(error)) from error


def _table(told: Sequence[tuple[Row, str]], args: argparse.Namespace) -> tuple[str, list[Row]]:
    rows = [row for row, _ in told]
    lines = fleet_lines(rows, colour=coloured(), width=columns(), everything=args.verbose)
    return "\n".join(lines), rows


def _as_json(told: Told) -> tuple[Row, str]:
    """Return a host's line, and its part of the document: what is no status is not passed on."""
    row = row_of(told)
    away = row.word == "away"
    part = {
        "address": told.host.address,
        "error": row.sentence if away else "",
        "status": None if away else told.status,
    }
    return row, f"{json.dumps(told.host.name)}: {json.dumps(part)}"


def _json(told: Sequence[tuple[Row, str]]) -> tuple[str, list[Row]]:
    parts = ", ".join(part for _, part in told)
    return '{"hosts": {' + parts + "}}", [row for row, _ in told]


def _exit_status(rows: Sequence[Row], *, check: bool) -> int:
    if any(row.word == "away" for row in rows):
        return 3
    return 1 if check and not all(row.serves for row in rows) else 0
