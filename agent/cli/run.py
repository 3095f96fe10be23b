# SPDX-License-Identifier: Apache-2.0
"""`llmagent run`: the daemon."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from agent.places import CONFIG_FILE


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser("run", help="the daemon; systemd runs it as llmagent.service")
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIG_FILE,
        help="agent.toml (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM."""
    # Imported late: the daemon's libraries are not worth loading for the short commands.
    from agent.daemon import log, wiring

    log.configure()
    return int(wiring.run(args.config))
