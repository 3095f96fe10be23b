# SPDX-License-Identifier: Apache-2.0
"""`llmagent status --hosts`: the options that name hosts, and what is printed of them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agent.cli.fleet.table import fleet_lines
from agent.cli.screen.terminal import WHOLE_SCREEN, coloured, columns, whole_screen
from agent.errors import UsageError
from agent.host.web.peer import Asker, Credentials
from agent.tasks.fleet.ask_hosts import Told, ask, hosts_of, named_in

WATCH_SECONDS = 5.0


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Add the options that name hosts."""
    parser.add_argument(
        "--hosts",
        metavar="HOST,...",
        help="a line for each of these hosts: HOST, HOST:PORT or https://HOST:PORT",
    )
    parser.add_argument(
        "--hosts-file", metavar="FILE", type=Path, help="more of them, one a line, # for comments"
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
    names = [] if args.hosts is None else [name for name in args.hosts.split(",") if name.strip()]
    if args.hosts_file is not None:
        names += named_in(args.hosts_file)
    hosts = hosts_of([name.strip() for name in names])
    asker = Asker(Credentials(args.user, _password(args), args.ca_file))
    if args.watch and args.format == "human" and sys.stdout.isatty():
        with WHOLE_SCREEN:
            while True:
                whole_screen(_table(ask(hosts, asker), args))
                time.sleep(WATCH_SECONDS)
    while True:
        told = ask(hosts, asker)
        print(_json(told) if args.format == "json" else _table(told, args), flush=True)
        if not args.watch:
            return _exit_status(told, check=args.check)
        time.sleep(WATCH_SECONDS)


def _password(args: argparse.Namespace) -> str:
    if args.password_file is None:
        return ""
    if not args.user:
        raise UsageError("--password-file is for a --user")
    try:
        return str(args.password_file.read_text().rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{args.password_file} cannot be read: {error}") from error


def _table(told: Sequence[Told], args: argparse.Namespace) -> str:
    lines = fleet_lines(told, colour=coloured(), width=columns(), everything=args.verbose)
    return "\n".join(lines)


def _json(told: Sequence[Told]) -> str:
    hosts = {
        one.host.name: {
            "address": one.host.address,
            "error": one.error,
            "status": one.status,
        }
        for one in told
    }
    return json.dumps({"hosts": hosts})


def _exit_status(told: Sequence[Told], *, check: bool) -> int:
    if any(one.status is None for one in told):
        return 3
    phases = [
        service.get("phase") if isinstance(service, dict) else None
        for one in told
        for service in (one.status or {})["services"].values()
    ]
    return 1 if check and any(phase != "serving" for phase in phases) else 0
