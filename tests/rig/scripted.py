# SPDX-License-Identifier: Apache-2.0
"""The scripted engine as tests use it: set its scenario, cue it, see what it was started with.

Its scenario's keys are the fields of scripted_engine/engine/scenario.py, its cues the cases in
scripted_engine/engine/cues.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.rig.container import Container

PYTHON: Final = "/opt/scripted-engine/venv/bin/python"
"""What a service's `python` is to be, in a container that binds.scripted_engine() is bound into."""
STARTS: Final = "scripted-engine-starts.jsonl"


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a scripted engine: when (seconds since 1970), where, and how it was asked."""

    time: float
    port: int
    argv: tuple[str, ...]

    def value(self, flag: str) -> str | None:
        """Returns the value of --flag, None where it was not given."""
        for word, following in zip(self.argv, [*self.argv[1:], None], strict=True):
            if word == flag:
                return following
            if word.startswith(f"{flag}="):
                return word.removeprefix(f"{flag}=")
        return None


def set_scenario(box: Container, *entries: Mapping[str, object], port: int | None = None) -> None:
    """Says what happens from the next start on: the n-th start takes the n-th entry, then the last.

    For the engine on one port, or for all that have none of their own.
    """
    name = "scenario" if port is None else str(port)
    box.write(f"/run/scripted-engine/{name}.json", json.dumps(entries, indent=1))


def cue(box: Container, name: str, port: int = 8000, **values: object) -> None:
    """Makes something happen to a serving engine; AssertionError if it does not answer."""
    answer = box.http_post(port, "/scripted/cue", {"cue": name, **values})
    assert answer.status == 200, f"the engine on port {port} took no cue: {answer}"


def starts(box: Container, port: int = 8000) -> list[Start]:
    """Returns all starts on a port, oldest first."""
    files = box.run(["find", "/var/lib", "/var/cache", "-name", STARTS]).stdout.split()
    if not files:
        return []
    loaded = [json.loads(line) for line in box.run(["cat", *files]).stdout.splitlines()]
    found = [Start(one["time"], one["port"], tuple(one["argv"])) for one in loaded]
    return sorted((start for start in found if start.port == port), key=lambda start: start.time)
