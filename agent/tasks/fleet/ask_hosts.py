# SPDX-License-Identifier: Apache-2.0
"""Asks the agents of several hosts at once; one that is slow or away holds up no other."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.core.settings.hosts import MOST_HOSTS, Host, host_of
from agent.errors import UsageError
from agent.host.web.peer import Asker, PeerError

ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a host's agent said: its status.json, or why that is not known."""

    host: Host
    status: dict[str, Any] | None
    error: str = ""


def named_in(file: Path) -> Iterator[str]:
    """Give the hosts of a file: one a line, "#" begins a comment. Raises UsageError."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    for line in text.splitlines():
        if name := line.partition("#")[0].strip():
            yield name


def hosts_of(names: Sequence[str]) -> tuple[Host, ...]:
    """Return the hosts, each once, in their order. Raises UsageError."""
    hosts = {host.address: host for host in map(host_of, names)}
    if not hosts:
        raise UsageError("no host is named")
    if len(hosts) > MOST_HOSTS:
        raise UsageError(
            f"{len(hosts)} hosts are more than one table shows ({MOST_HOSTS}): for these"
            " Prometheus is made, see llmagent-metrics(7)"
        )
    return tuple(hosts.values())


def ask(hosts: Sequence[Host], asker: Asker, seconds: float = ANSWER_SECONDS) -> tuple[Told, ...]:
    """Return what all say within `seconds`, in the order of the hosts; never raises."""
    answers: queue.SimpleQueue[Told] = queue.SimpleQueue()

    def one(host: Host) -> None:
        try:
            answers.put(Told(host, asker.status(host.address, seconds)))
        except PeerError as error:
            answers.put(Told(host, None, str(error)))

    for host in hosts:
        # One that dribbles is left behind: nothing waits for it, and the command ends.
        threading.Thread(target=one, args=(host,), daemon=True).start()
    end = time.monotonic() + seconds
    told: dict[str, Told] = {}
    while len(told) < len(hosts):
        try:
            answer = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        told[answer.host.address] = answer
    late = f"no answer within {seconds:g} s"
    return tuple(told.get(host.address) or Told(host, None, late) for host in hosts)
