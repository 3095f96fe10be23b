# SPDX-License-Identifier: Apache-2.0
"""Who listens on a port, found with a right that the agent lacks: to see other users' sockets."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import agent
from agent.core.doctor.host import Listener
from agent.host.systemd.transient import TransientError, run_transient

DEADLINE_SECONDS = 5.0
ROOT = str(Path(agent.__file__).parents[1])
RIGHTS = ("CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH")
PROGRAM = """
import dataclasses, json, sys
sys.path.insert(0, sys.argv[1])
from agent.host.probes.kernel import listener
found = listener(int(sys.argv[2]))
print(json.dumps(None if found is None else dataclasses.asdict(found)))
"""
"""Prints what `port_holder` reads; it runs in the transient unit, and without site-packages."""


def program(port: int) -> list[str]:
    """Return the command line that prints who listens on `port`."""
    return [sys.executable, "-I", "-S", "-c", PROGRAM, ROOT, str(port)]


def port_holder(port: int) -> Listener | None:
    """Return who listens on a TCP port of this host, None when nobody does or it cannot be told."""
    try:
        said = run_transient(program(port), 0, DEADLINE_SECONDS, RIGHTS)
        found = json.loads(said)
    except (TransientError, ValueError):
        return None
    return None if found is None else Listener(**found)
