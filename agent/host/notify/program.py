# SPDX-License-Identifier: Apache-2.0
"""Sends a message, or asks for the dead-man's switch, by a program that lives for seconds.

systemd runs `python -m agent.notify` as a user that exists only meanwhile (DynamicUser=), hands it
the file of URLs as a credential, which nobody else can read, and ends it at its deadline. What it
loads, Apprise and what that needs, never comes into the agent's memory. The unit has one fixed
name, so that a program that hangs is never joined by a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import agent
from agent.core.plain import plain
from agent.core.record import dataclass
from agent.host.systemd.transient import CONFINED, MARGIN_SECONDS, as_transient_unit

DEADLINE_SECONDS = 100
"""Apprise gives each HTTP notifier 8 s, mail 15 s."""

UNIT = "llmagent-notify.service"
TEST_UNIT = "llmagent-notify-test.service"
"""Of `llmagent notify --test`, which must not wait for the daemon's."""

CREDENTIAL = "llmagent-notify"
LONGEST = 200

_PROPERTIES = {
    **CONFINED,
    "RuntimeMaxSec": str(DEADLINE_SECONDS),
    "TimeoutStopSec": "2",
    "MemoryMax": "256M",
    "TasksMax": "64",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What one notifier made of a message; `problem` is "" when it took it."""

    name: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """Runs in a unit of this name."""

    unit: str = UNIT

    def send(
        self, file: str, title: str, body: str, severity: str, left: Sequence[str] = ()
    ) -> tuple[Told, ...]:
        """Tell each notifier of the file, or those that are `left`; returns how each took it."""
        note = {"title": title, "body": body, "severity": severity, "left": [*left]}
        return _run(self.unit, "send", file, note)

    def beat(self, file: str, title: str, severity: str) -> tuple[Told, ...]:
        """Ask for the dead-man's switch in the file."""
        return _run(self.unit, "beat", file, {"title": title, "body": "", "severity": severity})


def _run(unit: str, what: str, file: str, document: Mapping[str, object]) -> tuple[Told, ...]:
    source = Path(agent.__file__).parent.parent
    launcher = as_transient_unit(
        {
            **_PROPERTIES,
            "LoadCredential": f"{CREDENTIAL}:{file}",
            "Environment": f"PYTHONPATH={source} PYTHONDONTWRITEBYTECODE=1",
        },
        f"--unit={unit}",
        "--description=Tells a person, for llmagent",
    )
    program = [sys.executable, "-m", "agent.notify", what, _credential(unit)]
    try:
        done = subprocess.run(
            [*launcher, *program],
            check=False,
            input=json.dumps(dict(document)),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_SECONDS + 10 * MARGIN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return (Told("", f"not done after {DEADLINE_SECONDS} s"),)
    except OSError as error:
        return (Told("", f"systemd-run cannot be run: {error.strerror}"),)
    told = tuple(_told(done.stdout))
    if done.returncode == 0 or any(one.problem for one in told):
        return told
    last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return (*told, Told("", plain(f"status {done.returncode}: {last}", LONGEST)))


def _credential(unit: str) -> str:
    """Return where systemd puts the file for a unit of this name (systemd.exec(5))."""
    return f"/run/credentials/{unit}/{CREDENTIAL}"


def _told(text: str) -> Iterator[Told]:
    for line in text.splitlines():
        try:
            document = json.loads(line)
            name, problem = str(document["name"]), str(document["problem"])
        except (ValueError, KeyError, TypeError):
            continue
        yield Told(plain(name, LONGEST), plain(problem, LONGEST))
