# SPDX-License-Identifier: Apache-2.0
"""What processes print in the journal of a server at work without vLLM's prefix, told apart by PID.

A library that tells of a client's data begins with words of its own and may go on with the
client's, line by line. So of lines that follow each other the first one decides: one that begins as
a library's own crash does is that; behind another one nothing is, whatever it begins with. The
journal knows which process wrote a line (systemd.journal-fields(7), _PID): what the one prints is
no rest of another's, and none speaks as another one.
"""

from __future__ import annotations

import re
from dataclasses import field

from agent.core.diagnosis.lines import Line
from agent.core.diagnosis.writing.quoted import ONE_WRITE_SECONDS
from agent.core.record import dataclass

TALK_SECONDS = 1.0
"""Lines of one process that are no further apart may belong together. A library prints some within
a millisecond; a process that waits for a core on a busy host takes longer."""

MAX_PROCESSES = 256
"""Processes of one service that are told apart; what others print is judged by its form alone."""

_MANAGER = 1
_OF_SYSTEMD = re.compile(r"[\w@.-]{1,100}\.service: ")
_OF_UVICORN = re.compile(r"INFO: {4,5}|ERROR: {4,5}\[Errno ")


@dataclass(slots=True)
class Talk:
    """Follows the processes of one run by their numbers on the host, 0 where none is known.

    `_roles` tells as whom a process spoke while the server started: as its API server (True), as
    anything else (False), or as both (None), as where a container's client carries all lines.
    """

    _roles: dict[int, bool | None] = field(default_factory=dict)
    _groups: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """By process, or by the program that a line's carrier names: when its last bare line came, and
    whether those began as a library's own do."""

    def learn(self, pid: int, *, server: bool) -> None:
        """Take note of a line of the start that names its process, in vLLM's own form."""
        if pid in self._roles:
            known = self._roles[pid]
            self._roles[pid] = known if known is server else None
        elif pid and len(self._roles) < MAX_PROCESSES:
            self._roles[pid] = server

    def is_another(self, pid: int, *, server: bool) -> bool:
        """Tell whether a line names another process than the one that wrote it."""
        role = self._roles.get(pid)
        return role is not None and role is not server

    def knows(self, pid: int) -> bool:
        """Tell whether one process of vLLM alone writes under this number."""
        return self._roles.get(pid) is not None

    def goes_on(self, line: Line, pid: int, at: float, *, native: bool) -> bool:
        """Take a bare line; tell whether it may be the rest of what a library says of a request.

        `native`: it begins as a library's own words do. A record of another program's own form is
        no print of a library.
        """
        if pid == _MANAGER or line.program.startswith("systemd") or line.recorded:
            return False
        who = _who(line, pid)
        last, own = self._groups.get(who, (at, native))
        if not 0.0 <= at - last <= TALK_SECONDS:
            own = native
        if who in self._groups or len(self._groups) < MAX_PROCESSES:
            self._groups[who] = (at, own)
        return not own or self._is_of_another(line.text, pid)

    def is_open(self, line: Line, pid: int, at: float) -> bool:
        """Tell whether a library talks in this process, so that any next line may be the rest."""
        last, own = self._groups.get(_who(line, pid), (at, True))
        return not own and 0.0 <= at - last <= TALK_SECONDS

    def is_one_write(self, pid: int, at: float) -> bool:
        """Tell whether a line came in one write with what a library says of a request.

        Two prints of one process are further apart.
        """
        last, own = self._groups.get(str(pid), (at, True))
        return not own and self.knows(pid) and 0.0 <= at - last <= ONE_WRITE_SECONDS

    def _is_of_another(self, text: str, pid: int) -> bool:
        """Tell whether a line begins as only another program's do: systemd's, or uvicorn's."""
        if pid > _MANAGER and _OF_SYSTEMD.match(text) is not None:
            return True
        return self._roles.get(pid) is False and _OF_UVICORN.match(text) is not None


def _who(line: Line, pid: int) -> str:
    """Return by what its group is known: the process, or the program that the carrier names."""
    return str(pid) if pid else line.program
