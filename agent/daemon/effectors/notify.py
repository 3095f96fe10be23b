# SPDX-License-Identifier: Apache-2.0
"""Has a message sent, or the dead-man's switch asked for, by a program that runs apart."""

from __future__ import annotations

from agent.core.state.actions import NotifyAction
from agent.core.state.telling.sending import Ping, Sent
from agent.daemon.clock import Clock
from agent.host.notify.program import Program, Told

WELL = "all is well"


class NotifyEffector:
    """Serves one lane: a slow notifier delays the next message, and nothing else."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._program = Program()

    def carry_out(self, action: NotifyAction) -> Sent:
        """Run the program and return who was not told."""
        if isinstance(action, Ping):
            title = WELL if action.well else action.why
            return self._sent(
                0, self._program.beat(action.file, title, "info" if action.well else "critical")
            )
        message = action.message
        severity = message.severity.value
        told = self._program.send(
            action.urls_file, message.title, message.body, severity, message.left
        )
        return self._sent(message.number, told)

    def failed(self, action: NotifyAction, detail: str) -> Sent:
        """Return what to tell when `carry_out` raised."""
        number = 0 if isinstance(action, Ping) else action.message.number
        return Sent(self._clock(), number, sent=False, problem=detail)

    def _sent(self, number: int, told: tuple[Told, ...]) -> Sent:
        failed = [one for one in told if one.problem]
        left = tuple(one.name for one in failed if one.name)
        problem = "; ".join(f"{one.name} {one.problem}".strip() for one in failed)
        took = tuple(one.name for one in told if not one.problem)
        return Sent(self._clock(), number, sent=not failed, left=left, problem=problem, took=took)
