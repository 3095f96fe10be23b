# SPDX-License-Identifier: Apache-2.0
"""`llmagent drill SERVICE kill|hot|refuse`: see what comes of a fault, and who is told.

kill ends the engine's process for real: the service is away until it serves again. hot and refuse
are only pretended. Prints each row of the history with its seconds since the fault, then how long
it took and who was told. --format json prints {"service", "fault", "serving_seconds": s | null,
"told_seconds": s | null, "rows": [{"seconds", "service", "kind", "message"}]}. Exit status 0, or 1
when it is not back or nobody was told in time, or refused; 3 daemon away, 4 not permitted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any

from agent.cli import status
from agent.cli.screen.options import add_format
from agent.cli.steering.asking import a_duration
from agent.core.plain import plain
from agent.core.record import dataclass
from agent.core.state.steering.requests import (
    Fault,
)
from agent.errors import AgentError, HostLacksError, UsageError
from agent.host.control.client import ask
from agent.host.store.store import Store
from agent.places import CONTROL_SOCKET, STATUS_FILE, STORE_FILE

LIMIT_SECONDS = 900.0
TOLD_SECONDS = 120.0
"""A message is made within half a minute, and sent within seconds where nobody dawdles."""

LOOK_SECONDS = 0.2


@dataclass
class Drill:
    """What was seen; `told` is the row of a message, `over` when it serves again."""

    service: str
    fault: Fault
    began: float
    last_id: int
    over: float | None = None
    told: float | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "drill",
        help="see what comes of a fault, and who is told",
        epilog="Examples: `sudo llmagent drill vllm hot`, `sudo llmagent drill vllm kill`. kill "
        "ends the engine's process: requests that run are lost, and the service is away until it "
        "serves again. Exit status: 0 back, and told where [notify] says so; 1 not, or refused.",
    )
    parser.add_argument("service", metavar="SERVICE")
    parser.add_argument("fault", choices=[fault.value for fault in Fault], help="what happens")
    parser.add_argument("--yes", action="store_true", help="do not ask before a kill")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=a_duration,
        default=LIMIT_SECONDS,
        metavar="TIME",
        help="wait for so long at most until it serves again; 15min as without it",
    )
    add_format(parser)
    parser.add_argument("--socket", type=Path, default=CONTROL_SOCKET, help=argparse.SUPPRESS)
    parser.add_argument("--state", type=Path, default=STORE_FILE, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, default=STATUS_FILE, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Bring the fault about and follow what comes of it."""
    if os.geteuid() != 0:
        raise HostLacksError("only root may kill an engine and read the history: use sudo")
    fault = Fault(args.fault)
    view = status.only(status.read(args.file), args.service)
    if fault is Fault.KILL and not args.yes:
        _consent(args.service)
    with Store.read_only(args.state) as store:
        known = store.events(limit=1)
        said = ask(args.socket, {"do": "drill", "service": args.service, "fault": fault.value})
        if not said.done:
            raise AgentError(said.message)
        drill = Drill(args.service, fault, time.time(), known[-1].id if known else 0)
        if fault is Fault.KILL:
            _kill(args.service)
        for row in _followed(store, drill, args.seconds, tells=view.get("notify") is not None):
            if args.format == "human":
                who = row["service"] or "llmagent"
                print(plain(f"{row['seconds']:7.1f} s  {who}: {row['message']}"), flush=True)
    return _end(drill, args.format, tells=view.get("notify") is not None)


def _consent(service: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("a kill ends all requests that run: say --yes where nobody can be asked")
    print(f"The engine of {service} is killed; requests that run are lost.", file=sys.stderr)
    print(f'Type "{service}" to go on: ', end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != service:
        raise AgentError("nothing was done")


def _kill(service: str) -> None:
    argv = ["systemctl", "kill", "--signal=KILL", "--kill-who=main", f"{service}.service"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise AgentError(f"the engine could not be killed: {plain(done.stderr.strip())}")


def _followed(
    store: Store, drill: Drill, seconds: float, *, tells: bool
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the history until the service serves again and a person was told."""
    while True:
        for stored in store.events_after(drill.last_id):
            drill.last_id = stored.id
            event = stored.event
            if event.service not in ("", drill.service):
                continue
            after = round(max(0.0, event.at_seconds - drill.began), 2)
            row = {"seconds": after, "service": event.service, "kind": event.kind}
            drill.rows.append({**row, "message": event.message})
            if event.kind == "serving" and drill.over is None:
                drill.over = after
            if event.kind == "told" and drill.told is None:
                drill.told = after
            yield drill.rows[-1]
        passed = time.time() - drill.began
        back = drill.fault is not Fault.KILL or drill.over is not None
        if back and (not tells or drill.told is not None):
            return
        if passed > (seconds if not back else (drill.over or 0.0) + TOLD_SECONDS):
            return
        time.sleep(LOOK_SECONDS)


def _end(drill: Drill, form: str, *, tells: bool) -> int:
    killed = drill.fault is Fault.KILL
    if form == "json":
        document = {
            "service": drill.service,
            "fault": drill.fault.value,
            "serving_seconds": drill.over,
            "told_seconds": drill.told,
            "rows": drill.rows,
        }
        print(json.dumps(document, indent=2))
    else:
        if killed:
            back = "not back in time" if drill.over is None else f"back after {drill.over:.1f} s"
            print(f"{drill.service} is {back}")
        if not tells:
            print("nobody is told: there is no [notify] in agent.toml")
        elif drill.told is None:
            print("nobody was told in time: see `llmagent status`; quiet hours, or too many before")
        else:
            print(f"told after {drill.told:.1f} s")
    done = (drill.over is not None or not killed) and (drill.told is not None or not tells)
    return 0 if done else 1
