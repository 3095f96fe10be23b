# SPDX-License-Identifier: Apache-2.0
"""What stood before the lines of a start, by its form: another form later is a quotation."""

from __future__ import annotations

import re
from dataclasses import field

from agent.core.diagnosis.lines import Line
from agent.core.record import dataclass

MAX_SHAPES = 64
"""Forms of what may stand before a line; one log has two or three."""

_RUN = re.compile(r"[A-Za-z0-9]+")


@dataclass(slots=True)
class Shapes:
    """The forms of one log's start."""

    _known: set[str] = field(default_factory=set)

    def learn(self, line: Line) -> None:
        """Take note of what stands before a line of the start."""
        if (line.carrier or line.recorded) and len(self._known) < MAX_SHAPES:
            self._known.add(_shape(line))

    def are_odd(self, line: Line, at: float | None) -> bool:
        """Tell whether something stands before a line that stood before none of the start.

        `at`: when it came to the journal, None for a line of a file, which anything may carry.
        """
        carried = line.recorded or (line.carrier and at is not None)
        return bool(carried) and _shape(line) not in self._known


def _shape(line: Line) -> str:
    """Return the form of what stood before a line, for all dates, hosts and numbers alike."""
    return f"{line.recorded}{' '.join(_RUN.sub('0', line.carrier).split())}"
