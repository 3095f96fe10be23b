# SPDX-License-Identifier: Apache-2.0
"""`llmagent notify --test`: sends one message through every notifier that is configured.

The message takes the way of a real one, without the daemon: the same program, user and files.
--format json prints {"told": [{"name", "problem"}]}, the problem "" when it was told. Exit status
0, 1 when any was not told or nobody is configured, 2 for a mistake in agent.toml, 4 without root.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from agent.cli.screen.options import add_config, add_format
from agent.config import agent_toml
from agent.core.settings.notify import Notify
from agent.errors import HostLacksError
from agent.host.notify.program import TEST_UNIT, Program, Told

TITLE = "test: this is llmagent"
BODY = """\
This is a test, asked for by `llmagent notify --test`; nothing is wrong.
What comes here later says what happened, why, what was done, and what to do next.
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "notify",
        help="try whether people are reached",
        epilog="Example: `sudo llmagent notify --test`. Exit status: 0 everybody was told, 1 not, "
        "2 mistake in agent.toml, 4 not root. See [notify] in agent.toml(5).",
    )
    parser.add_argument(
        "--test", action="store_true", required=True, help="send one message to every notifier"
    )
    add_config(parser)
    add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send the message and say how each notifier took it."""
    notify = agent_toml.load(args.config).notify
    if os.geteuid() != 0:
        raise HostLacksError("only root may read the files of addresses: use sudo")
    told = _told(notify)
    if args.format == "json":
        print(json.dumps({"told": [{"name": one.name, "problem": one.problem} for one in told]}))
    elif not told:
        print("nobody is told: set urls_file in [notify], see agent.toml(5)", file=sys.stderr)
    else:
        for one in told:
            print(f"{one.name or 'nobody'}: {one.problem or 'told'}")
    return 0 if told and not any(one.problem for one in told) else 1


def _told(notify: Notify) -> tuple[Told, ...]:
    program, told = Program(TEST_UNIT), tuple[Told, ...]()
    if notify.urls_file:
        told += program.send(notify.urls_file, TITLE, BODY, "info")
    if notify.dead_mans_switch_file:
        told += program.beat(notify.dead_mans_switch_file, TITLE, "info")
    return told
