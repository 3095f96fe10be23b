# SPDX-License-Identifier: Apache-2.0
"""What can be seen of processes: of a run that is about to be killed, of who has a port."""

from __future__ import annotations

from agent.core.doctor.host import Listener
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """A process of a run that is to be killed.

    `state` is the kernel's letter, `waits_in` the kernel's function that an uninterruptible one (D)
    hangs in, `stack` the Python stacks of its threads as py-spy prints them.
    """

    pid: int
    name: str
    state: str
    threads: int
    rss_bytes: int
    waits_in: str = ""
    stack: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceTaken:
    """What a run looked like before it was killed; `problem` says what could not be had."""

    at: float
    service: str
    invocation_id: str
    processes: tuple[ProcessSeen, ...]
    lines: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PortSeen:
    """Who listens on a port; `holder` is None when nobody does or it cannot be told."""

    at: float
    service: str
    port: int
    holder: Listener | None
