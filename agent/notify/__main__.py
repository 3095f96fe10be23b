# SPDX-License-Identifier: Apache-2.0
"""`python -m agent.notify send|beat FILE`: tells each notifier of FILE, or the dead-man's switch.

Reads {"title", "body", "severity", "left": [NAME]} from standard input; with "left" only these are
told. Prints a line of JSON for each as soon as it is known: {"name", "problem"}, where the problem
is "" when it was told, and the name "" where nobody could be. Exit status 0, or 1 when any was not
told.

It runs in a transient unit as a user of its own, with FILE as a systemd credential, so that neither
a library of other people's nor a slow server can hurt the agent.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.notify.notifiers.by_apprise import notifiers_of
from agent.notify.notifiers.heartbeat import heartbeat_of
from agent.notify.notifiers.notifier import Note, Notifier

LONGEST_INPUT = 1 << 16


def main(argv: Sequence[str]) -> int:
    """Tell; returns the exit status."""
    what, path = argv
    document = json.loads(sys.stdin.read(LONGEST_INPUT))
    try:
        notifiers = _notifiers(what, path)
    except (ValueError, OSError) as error:
        _say("", str(error))
        return 1
    left = frozenset(document.get("left", ()))
    wanted = [one for one in notifiers if not left or one.name in left]
    problems = [_told(one, _note(document)) for one in wanted]
    return 1 if any(problems) else 0


def _notifiers(what: str, path: str) -> tuple[Notifier, ...]:
    return notifiers_of(path) if what == "send" else (heartbeat_of(Path(path).read_text()),)


def _note(document: dict[str, Any]) -> Note:
    host = socket.gethostname()
    title, severity = str(document["title"]), str(document["severity"])
    return Note(f"[{host}] {title}", str(document["body"]), severity)


def _told(notifier: Notifier, note: Note) -> bool:
    problem = notifier.send(note)
    _say(notifier.name, problem)
    return bool(problem)


def _say(name: str, problem: str) -> None:
    print(json.dumps({"name": name, "problem": problem}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
