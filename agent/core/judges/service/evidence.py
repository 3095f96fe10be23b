# SPDX-License-Identifier: Apache-2.0
"""What was seen of a hung engine before it was killed, cut to what the history has room for."""

from __future__ import annotations

import json
from collections.abc import Mapping

from agent.core.judges.holders.processes import sample
from agent.core.judges.turn import Turn
from agent.core.record import dataclass
from agent.core.state.process import EvidenceTaken
from agent.core.state.service import ServiceState

MOST_CHARACTERS = 64 * 1024
"""Of one event's data as JSON."""

MOST_PROCESSES = 64
SHORTEST = 64


def on_evidence(turn: Turn, s: ServiceState, taken: EvidenceTaken) -> None:
    """Put the evidence into the history, with the last look at the service's GPUs."""
    settings = s.running or turn.policy_of(s).settings
    gpus = sample(turn.gpus, settings)
    stacks = sum(bool(process.stack) for process in taken.processes)
    parts = [
        f"Python stacks of {stacks} of {len(taken.processes)} processes",
        f"{len(taken.lines)} log lines",
        *([f"a look at {len(gpus)} GPUs"] if gpus else []),
    ]
    message = f"taken before the kill: {', '.join(parts)}"
    if taken.problem:
        message += f" ({taken.problem})"
    turn.tell(s.name, "evidence", message, **bounded(taken, gpus))


def bounded(taken: EvidenceTaken, gpus: list[Mapping[str, object]]) -> Mapping[str, object]:
    """Return the event's data, each text cut to the length at which all of it fits."""
    longest = MOST_CHARACTERS
    while True:
        data = _data(taken, gpus, longest)
        if len(json.dumps(data)) <= MOST_CHARACTERS or longest <= SHORTEST:
            return data
        longest //= 2


@dataclass(frozen=True, slots=True)
class _Cut:
    longest: int

    def end(self, text: str) -> str:
        """Keep the beginning: py-spy prints the innermost frame first."""
        return text if len(text) <= self.longest else f"{text[: self.longest]}..."


def _data(
    taken: EvidenceTaken, gpus: list[Mapping[str, object]], longest: int
) -> Mapping[str, object]:
    cut = _Cut(longest)
    return {
        "invocation_id": taken.invocation_id,
        "processes": [
            {
                "pid": process.pid,
                "name": cut.end(process.name),
                "state": process.state,
                "threads": process.threads,
                "rss_bytes": process.rss_bytes,
                "waits_in": cut.end(process.waits_in),
                "stack": cut.end(process.stack),
            }
            for process in taken.processes[:MOST_PROCESSES]
        ],
        "lines": [cut.end(line) for line in taken.lines],
        "gpus": gpus if longest > SHORTEST * 4 else [],
        "problem": cut.end(taken.problem),
    }
