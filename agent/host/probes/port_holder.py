# SPDX-License-Identifier: Apache-2.0
"""Who listens on a port, found with a right that the agent lacks: to see other users' sockets."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import agent
from agent.core.doctor.host import Listener
from agent.host.probes.kernel import listener
from agent.host.systemd.transient import TransientError, run_transient

DEADLINE_SECONDS = 5.0
ROOT = str(Path(agent.__file__).parents[1])
RIGHTS = ("CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH")
PROGRAM = f"""
import sys
sys.path.insert(0, sys.argv[1])
from {__name__} import print_holder
print_holder(int(sys.argv[2]))
"""


def port_holder(port: int) -> Listener | None:
    """Return who listens on a TCP port of this host, None when nobody does or it cannot be told."""
    argv = [sys.executable, "-I", "-S", "-c", PROGRAM, ROOT, str(port)]
    try:
        said = run_transient(argv, 0, DEADLINE_SECONDS, RIGHTS)
        found = json.loads(said)
    except (TransientError, ValueError):
        return None
    return None if found is None else Listener(**found)


def print_holder(port: int) -> None:
    """Print what `port_holder` reads; runs in the transient unit."""
    found = listener(port)
    print(json.dumps(None if found is None else asdict(found)))
