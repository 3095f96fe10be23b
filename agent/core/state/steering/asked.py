# SPDX-License-Identifier: Apache-2.0
"""That an operator asked for something, and the answer.

What can be asked is in `requests`, which the daemon loads when it is asked for the first time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.core.record import dataclass

if TYPE_CHECKING:
    from agent.core.state.steering.requests import Request

LONGEST_REQUEST = 4096
"""Characters of one request."""


@dataclass(frozen=True, slots=True)
class OperatorAsked:
    """A request came over the control socket; `number` goes back with its answer.

    `by` names who asked. `local_seconds` is the local time of day, in seconds since midnight.
    """

    at: float
    number: int
    request: Request
    by: str
    local_seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request, for who sent it; carried out after the decision is recorded."""

    number: int
    done: bool
    message: str
