# SPDX-License-Identifier: Apache-2.0
"""Asks other hosts by a program that lives for seconds, as a user that exists only meanwhile.

What strangers answer there is read by `python -m agent.cli.fleet` in a unit of its own, which sees
nothing of the host and gets the password as a credential. None of it comes into the agent's memory
but the lines for the page. The unit has one fixed name, so that there is never a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import agent
from agent.core.plain import plain
from agent.core.settings.fleet import Fleet
from agent.errors import AgentError
from agent.host.systemd.transient import CONFINED, MARGIN_SECONDS, as_transient_unit

DEADLINE_SECONDS = 8
"""Less than the exporter's patience with an answer of its own; the hosts have 5 s of it."""

UNIT = "llmagent-fleet.service"
LONGEST = 200

_PROPERTIES = {
    **CONFINED,
    "RuntimeMaxSec": str(DEADLINE_SECONDS),
    "TimeoutStopSec": "1",
    "MemoryMax": "512M",
    "TasksMax": "256",
}
"""A hundred hosts have a thread and at most 4 MiB each."""


def ask_fleet(fleet: Fleet) -> bytes:
    """Return what `python -m agent.cli.fleet` prints: the document of /fleet.json.

    Takes up to 9 s. Raises AgentError when it has not come by then, or not at all.
    """
    files = {"password": fleet.password_file, "ca": fleet.ca_file}
    credentials = [
        f"--property=LoadCredential={name}:{file}" for name, file in files.items() if file
    ]
    source = Path(agent.__file__).parent.parent
    launcher = as_transient_unit(
        {**_PROPERTIES, "Environment": f"PYTHONPATH={source} PYTHONDONTWRITEBYTECODE=1"},
        *(f"--unit={UNIT}", "--description=Asks other hosts, for llmagent", *credentials),
    )
    asked = {
        "hosts": fleet.hosts,
        "user": fleet.user,
        **{
            f"{name}_file": file and f"/run/credentials/{UNIT}/{name}"
            for name, file in files.items()
        },
    }
    try:
        done = subprocess.run(
            [*launcher, sys.executable, "-m", "agent.cli.fleet"],
            check=False,
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=DEADLINE_SECONDS + MARGIN_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        raise AgentError(f"the other hosts: no answer within {DEADLINE_SECONDS} s") from late
    except OSError as error:
        raise AgentError(f"systemd-run cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        last = plain(words[-1] if words else f"it ended with status {done.returncode}", LONGEST)
        raise AgentError(f"the other hosts could not be asked: {last}")
    return done.stdout
