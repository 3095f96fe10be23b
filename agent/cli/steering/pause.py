# SPDX-License-Identifier: Apache-2.0
"""`llmagent pause [SERVICE] [--for TIME | --until HH:MM]`: watch and tell, but do not act.

--format json prints {"done": true|false, "message"}. Exit status 0, 1 refused, 3 daemon away.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from agent.cli.steering.asking import (
    a_duration,
    a_time_of_day,
    add_command,
    asked,
    seconds_until,
)
from agent.core.measures import HOUR_SECONDS

USUAL_SECONDS = 2 * HOUR_SECONDS


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    examples = "`llmagent pause --for 2h`, `llmagent pause vllm --until 06:00`"
    text = "watch and tell, but do not act, for a while"
    parser = add_command(commands, "pause", text, examples, run)
    parser.add_argument("service", nargs="?", default="", metavar="SERVICE", help="only this one")
    end = parser.add_mutually_exclusive_group()
    end.add_argument(
        "--for",
        dest="seconds",
        type=a_duration,
        default=USUAL_SECONDS,
        metavar="TIME",
        help="90s, 30min, 2h (as without it), at most 7d",
    )
    end.add_argument("--until", type=a_time_of_day, metavar="HH:MM", help="the next 06:00")


def run(args: argparse.Namespace) -> int:
    """Ask for the pause."""
    seconds = args.seconds
    if args.until is not None:
        seconds = max(60.0, seconds_until(args.until, datetime.now().astimezone()))
    return asked(args, {"do": "pause", "service": args.service, "seconds": seconds})
