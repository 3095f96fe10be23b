# SPDX-License-Identifier: Apache-2.0
"""Reminds who uses another screen that something is paused: a pause must not be forgotten."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from agent.core.plain import plain_values
from agent.places import STATUS_FILE

REMINDED = frozenset({"doctor", "verify", "events", "check", "render", "bench"})
"""Commands about a live host whose own screen does not show it."""

FRESH_SECONDS = 30.0


def remind_of_a_pause(args: argparse.Namespace, file: Path = STATUS_FILE) -> None:
    """Say on stderr what is paused, below what the command has printed for a person."""
    if args.command not in REMINDED or getattr(args, "format", "human") != "human":
        return
    from agent.cli.screen.headline import pause_words  # for the screens that say it: time

    try:
        document = plain_values(json.loads(file.read_text()))
        fresh = time.time() - document["at_seconds"] < FRESH_SECONDS
        words = pause_words(document) if fresh else ""
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return  # no daemon, and so no pause: the command has said what there was to say
    if words:
        print(f"note: {words}; `llmagent status` shows it", file=sys.stderr)
