# SPDX-License-Identifier: Apache-2.0
"""What the commands that steer have in common: options, times, and how an answer is printed."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent.cli.screen.options import add_format
from agent.core.measures import DAY_SECONDS, HOUR_SECONDS
from agent.errors import AgentError
from agent.host.control.client import ask
from agent.places import CONTROL_SOCKET

UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": HOUR_SECONDS, "d": DAY_SECONDS}


def add_command(
    commands: argparse._SubParsersAction[Any],
    name: str,
    text: str,
    examples: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Return the parser of a command that asks the agent for something."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        epilog=f"Examples: {examples}. Root and the group llmagent may ask. Exit status: 0 done, "
        "1 refused, 2 no such time, 3 the daemon is away, 4 not permitted.",
    )
    add_format(parser)
    parser.add_argument("--socket", type=Path, default=CONTROL_SOCKET, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)
    return parser


def asked(args: argparse.Namespace, request: Mapping[str, object]) -> int:
    """Ask, print the answer, and return 0.

    Raises AgentError with the agent's sentence where it refuses; --format json prints that too.
    """
    said = ask(args.socket, request)
    if args.format == "json":
        print(json.dumps({"done": said.done, "message": said.message}))
        return 0 if said.done else 1
    if not said.done:
        raise AgentError(said.message)
    print(said.message)
    return 0


def a_duration(text: str) -> float:
    """Return the seconds that "90s", "30min", "2h" or "1d" mean, for argparse."""
    parts = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?(s|min|m|h|d)", text.strip())
    if parts is None:
        raise argparse.ArgumentTypeError(f'"{text}" is no time: write 90s, 30min, 2h or 1d')
    return float(parts[1]) * UNITS[parts[2]]


def a_time_of_day(text: str) -> float:
    """Return the seconds since midnight that "03:00" means, for argparse."""
    parts = re.fullmatch(r"(\d\d?):(\d\d)", text.strip())
    if parts is None or int(parts[1]) > 23 or int(parts[2]) > 59:
        raise argparse.ArgumentTypeError(f'"{text}" is no time of day: write 03:00')
    return int(parts[1]) * HOUR_SECONDS + int(parts[2]) * 60.0


def seconds_until(time_of_day: float, now: datetime) -> float:
    """Return how long it is until the clock next shows a time, whatever the clocks do between."""
    minutes = int(time_of_day) // 60
    then = now.replace(hour=minutes // 60, minute=minutes % 60, second=0, microsecond=0)
    if then <= now:
        then += timedelta(days=1)
    # The zone is asked anew: its offset may be another one then.
    return then.replace(tzinfo=None).astimezone().timestamp() - now.timestamp()
