# SPDX-License-Identifier: Apache-2.0
"""Runs one short command."""

from __future__ import annotations

import shutil
import subprocess

DEADLINE_SECONDS = 2.0


def output_of(*argv: str, seconds: float = DEADLINE_SECONDS) -> str | None:
    """Return what the command prints; None when it is missing, fails, or takes longer."""
    program = shutil.which(argv[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None  # ValueError: there is a NUL in a word
    return done.stdout.strip() if done.returncode == 0 else None
