# SPDX-License-Identifier: Apache-2.0
"""Asks the agents of several hosts at once; one that is slow or away holds up no other."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from agent.core.record import dataclass
from agent.core.settings.hosts import MOST_HOSTS, Host, host_of
from agent.errors import UsageError
from agent.host.files.own import read_own
from agent.host.web.peer import Asker, PeerError, read_status

ANSWER_SECONDS = 5.0

READING_SECONDS = 2.0
"""Those of hosts as they should be take milliseconds each; with the asking, less than the page's
program may take (`agent.host.fleet.program.DEADLINE_SECONDS`)."""

TOO_SLOW = "answers with so much that there was no time to read it"

LONGEST_FILE = 64 << 10
"""Characters; a hundred hosts with a comment each have 10,000."""

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class Told:
    """What a host's agent said: its status.json, or why that is not known."""

    host: Host
    status: dict[str, Any] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came over the wire, or why nothing did."""

    host: Host
    text: bytes = b""
    error: str = ""


def named_in(file: Path) -> Iterator[str]:
    """Give the hosts of a file, in lines, with spaces or commas between; "#" begins a comment.

    Raises UsageError, with the line of what is no host.
    """
    try:
        text = read_own(file, LONGEST_FILE).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        for name in names_in(line.partition("#")[0]):
            try:
                host_of(name)
            except UsageError as error:
                raise UsageError(f"{file}, line {number}: {error}") from error
            yield name


def names_in(text: str) -> list[str]:
    """Return what stands between commas and spaces."""
    return text.replace(",", " ").split()


def hosts_of(names: Sequence[str]) -> tuple[Host, ...]:
    """Return the hosts, each once as it was named first, in their order. Raises UsageError."""
    hosts: dict[str, Host] = {}
    for host in map(host_of, names):
        hosts.setdefault(host.address, host)
    if not hosts:
        raise UsageError("no host is named")
    if len(hosts) > MOST_HOSTS:
        raise UsageError(
            f"{len(hosts)} hosts are more than one table shows ({MOST_HOSTS}): for these"
            " Prometheus is made, see llmagent-metrics(7)"
        )
    return tuple(hosts.values())


class Asking(Generic[Shown]):
    """Asks hosts again and again; of each answer it keeps only what `shown` makes of it.

    Answers are read one at a time, the shortest first: a hundred of them take the memory of one,
    and no stranger's long one keeps the others from being read.
    """

    def __init__(self, hosts: Sequence[Host], asker: Asker, shown: Callable[[Told], Shown]) -> None:
        self._hosts = hosts
        self._asker = asker
        self._shown = shown
        self._busy: set[str] = set()

    def ask(self, seconds: float = ANSWER_SECONDS) -> tuple[Shown, ...]:
        """Return what all say within `seconds`, in the order of the hosts; never raises.

        One that still dribbles from the time before is not asked beside that. Reading takes up to
        `READING_SECONDS` more.
        """
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        asked = [host for host in self._hosts if host.address not in self._busy]
        self._busy.update(host.address for host in asked)
        for host in asked:
            # Nothing waits for one that is late, and the command ends without it.
            threading.Thread(target=self._one, args=(host, seconds, answers), daemon=True).start()
        end = time.monotonic() + seconds
        came: list[Answer] = []
        while len(came) < len(asked):
            try:
                came.append(answers.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                break
        end = time.monotonic() + READING_SECONDS
        told: dict[str, Shown] = {}
        for answer in sorted(came, key=lambda answer: len(answer.text)):
            told[answer.host.address] = self._read(answer, late=time.monotonic() > end)
        late = f"no answer within {seconds:g} s"
        return tuple(
            told[host.address] if host.address in told else self._shown(Told(host, None, late))
            for host in self._hosts
        )

    def _one(self, host: Host, seconds: float, answers: queue.SimpleQueue[Answer]) -> None:
        try:
            answer = Answer(host, self._asker.status(host.address, seconds))
        except PeerError as error:
            answer = Answer(host, error=str(error))
        self._busy.discard(host.address)
        answers.put(answer)

    def _read(self, answer: Answer, *, late: bool) -> Shown:
        if answer.error or late:
            return self._shown(Told(answer.host, None, answer.error or TOO_SLOW))
        try:
            return self._shown(Told(answer.host, read_status(answer.text)))
        except PeerError as error:
            return self._shown(Told(answer.host, None, str(error)))
