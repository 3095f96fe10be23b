# SPDX-License-Identifier: Apache-2.0
"""systemctl as a person types it, for commands that do for him what he would type himself."""

from __future__ import annotations

import subprocess

from agent.errors import HostLacksError

ANSWER_SECONDS = 30.0


def systemctl(*words: str, seconds: float = 120.0) -> str:
    """Run it and return what it prints; raises HostLacksError with its own words."""
    try:
        done = subprocess.run(
            ["/usr/bin/systemctl", *words],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as late:
        raise HostLacksError(f"systemctl {' '.join(words)}: not done in {seconds:g} s") from late
    except OSError as error:
        raise HostLacksError(f"systemctl cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise HostLacksError(f"systemctl {' '.join(words)}: {said}")
    return done.stdout.strip()


def answer(*words: str) -> str:
    """Return the first line of `is-active`, `is-enabled` or `show`, "" where nothing answers."""
    try:
        done = subprocess.run(
            ["/usr/bin/systemctl", *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0]
