# SPDX-License-Identifier: Apache-2.0
"""`llmagent run`: the daemon."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from types import ModuleType
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
    daemon, log = imported_daemon()
    log.configure()
    return int(daemon.run(args.config))


def imported_daemon() -> tuple[ModuleType, ModuleType]:
    """Import the daemon and its log, without what it needs never.

    Imported late: the daemon's libraries are not worth loading for the short commands. requests
    takes chardet, if that is there, to guess the charset of text that names none; its tables of
    languages are 2.4 MiB, and all that the agent asks for is JSON and metrics in UTF-8. Without it
    requests uses charset_normalizer, and warns on Debian 12, where that is newer than it knows.
    """
    sys.modules["chardet"] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import requests  # noqa: F401
    finally:
        del sys.modules["chardet"]
    from agent.daemon import log, wiring

    return wiring, log
