# SPDX-License-Identifier: Apache-2.0
"""`llmagent restart SERVICE [--when-idle] [--at HH:MM [--every day]] [--cancel]`.

Without an option it is restarted now. --format json prints {"done": true|false, "message"}. Exit
status 0, 1 refused, 3 daemon away.
"""

from __future__ import annotations

import argparse
from typing import Any

from agent.cli.steering.asking import a_time_of_day, add_command, asked
from agent.errors import UsageError


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    examples = (
        "`llmagent restart vllm --when-idle`, `llmagent restart vllm --at 03:00 --every day`,"
        " `llmagent restart vllm --cancel`"
    )
    text = "restart a service now, when idle, or at a time"
    parser = add_command(commands, "restart", text, examples, run)
    parser.add_argument("service", metavar="SERVICE")
    parser.add_argument(
        "--when-idle", action="store_true", help="as soon as no request runs or waits"
    )
    parser.add_argument(
        "--at", type=a_time_of_day, metavar="HH:MM", help="the next 03:00, by this host's clock"
    )
    parser.add_argument("--every", choices=("day",), help="with --at: on every day")
    parser.add_argument("--cancel", action="store_true", help="take a planned restart back")


def run(args: argparse.Namespace) -> int:
    """Ask for the restart."""
    if args.every and args.at is None:
        raise UsageError("--every day needs a time: --at 03:00")
    if args.cancel and (args.at is not None or args.when_idle):
        raise UsageError("--cancel takes what is planned back: it has no time")
    request = {
        "do": "restart",
        "service": args.service,
        "time_of_day": args.at,
        "when_idle": args.when_idle,
        "every_day": args.every == "day",
        "cancel": args.cancel,
    }
    return asked(args, request)
