# SPDX-License-Identifier: Apache-2.0
"""`llmagent resume [SERVICE]`: end a pause before its time.

--format json prints {"done": true|false, "message"}. Exit status 0, 1 refused, 3 daemon away.
"""

from __future__ import annotations

import argparse
from typing import Any

from agent.cli.steering.asking import add_command, asked


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    examples = "`llmagent resume`, `llmagent resume vllm`"
    parser = add_command(commands, "resume", "end a pause before its time", examples, run)
    parser.add_argument("service", nargs="?", default="", metavar="SERVICE", help="only this one")


def run(args: argparse.Namespace) -> int:
    """Ask for the end of the pause."""
    return asked(args, {"do": "resume", "service": args.service})
