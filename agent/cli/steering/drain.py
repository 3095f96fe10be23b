# SPDX-License-Identifier: Apache-2.0
"""`llmagent drain SERVICE [--for TIME]`: stop a service once no request runs or waits.

vLLM cannot be told to refuse new requests without its development mode, so clients must be sent
elsewhere first. --format json prints {"done": true|false, "message"}. Exit status 0, 1 refused, 3
daemon away.
"""

from __future__ import annotations

import argparse
from typing import Any

from agent.cli.steering.asking import a_duration, add_command, asked

USUAL_SECONDS = 600.0


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    examples = "`llmagent drain vllm`, `llmagent drain vllm --for 30min`"
    text = "stop a service once no request runs or waits"
    parser = add_command(commands, "drain", text, examples, run)
    parser.add_argument("service", metavar="SERVICE")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=a_duration,
        default=USUAL_SECONDS,
        metavar="TIME",
        help="wait for so long at most, then end what still runs; 10min as without it",
    )


def run(args: argparse.Namespace) -> int:
    """Ask for the drain."""
    return asked(args, {"do": "drain", "service": args.service, "seconds": args.seconds})
