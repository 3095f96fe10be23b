# SPDX-License-Identifier: Apache-2.0
"""Asks a person before something is written or stopped."""

from __future__ import annotations

import sys

from agent.errors import UsageError


def agreed(question: str, option: str = "--yes") -> bool:
    """Ask on the terminal, no by default; raises UsageError where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"there is no terminal to ask on: {option} agrees beforehand")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
