# SPDX-License-Identifier: Apache-2.0
"""Options that most commands have, with the same words everywhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from agent.places import CONFIG_FILE


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add --format: for a person, or one JSON document for other programs."""
    parser.add_argument(
        "--format", choices=("human", "json"), default="human", help="json for other programs"
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --config: another file in place of /etc/llmagent/agent.toml."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=CONFIG_FILE,
        help=f"read this in place of {CONFIG_FILE}",
    )
