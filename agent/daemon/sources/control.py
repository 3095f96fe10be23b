# SPDX-License-Identifier: Apache-2.0
"""Hears what operators ask over the control socket, and answers once it is decided and recorded."""

from __future__ import annotations

import queue
from pathlib import Path

from agent.core.state.steering.asked import Answer, OperatorAsked
from agent.daemon.clock import Clock, seconds_since_midnight
from agent.daemon.sources.thread import Emit
from agent.host.control.listener import Client, Listener

REST_SECONDS = 60.0
DECIDED_SECONDS = 10.0
"""A decision takes milliseconds; a store on a slow disk a moment more."""


class ControlSource:
    """Serves one client at a time; the deciding thread hands the answers in."""

    name = "control"

    def __init__(self, path: Path, emit: Emit, clock: Clock) -> None:
        self._path = path
        self._emit = emit
        self._clock = clock
        self._listener: Listener | None = None
        self._number = 0
        self._answers: queue.SimpleQueue[tuple[Answer, str]] = queue.SimpleQueue()

    def look(self) -> None:
        """Wait for a client and serve it. Raises OSError where the socket cannot be made.

        The first look only listens: the source works from then on, whether or not anybody asks.
        """
        if self._listener is None:
            self._listener = Listener(self._path)
            return
        client = self._listener.wait(REST_SECONDS)
        if client is not None:
            self._serve(client)

    def answered(self, answer: Answer, unrecorded: str) -> None:
        """Take the answer to a request; `unrecorded` says why it would not outlive the agent."""
        self._answers.put((answer, unrecorded))

    def wake(self) -> None:
        """End the rest. From any thread."""
        if self._listener is not None:
            self._listener.wake()

    def close(self) -> None:
        """Stop to listen."""
        if self._listener is not None:
            self._listener.close()

    def _serve(self, client: Client) -> None:
        # Loaded for who asks: most agents run for weeks without.
        from agent.core.state.steering.requests import BadRequestError, request_of

        try:
            request = request_of(client.line)
        except BadRequestError as error:
            client.answer(done=False, message=str(error))
            return
        self._number += 1
        at, local = self._clock(), seconds_since_midnight()
        self._emit(OperatorAsked(at, self._number, request, client.by, local))
        answer, unrecorded = self._answer_to(self._number)
        if unrecorded and answer.done:
            message = f"{answer.message}. It is lost when llmagent ends: {unrecorded}"
            client.answer(done=True, message=message)
        else:
            client.answer(done=answer.done, message=answer.message)

    def _answer_to(self, number: int) -> tuple[Answer, str]:
        try:
            while True:
                found = self._answers.get(timeout=DECIDED_SECONDS)
                if found[0].number == number:  # else late, of one that was given up
                    return found
        except queue.Empty:
            return Answer(number, done=False, message="llmagent is busy: not known yet"), ""
