# SPDX-License-Identifier: Apache-2.0
"""Services that wrote into one log: which of them counts first, and what each is called."""

from __future__ import annotations

import re
from itertools import pairwise

from agent.core.diagnosis.familiar.reader import FamiliarReader
from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import FailureClass, Group, Outcome
from agent.core.failures.meaning import group_of
from agent.core.record import dataclass

_OF_A_PROCESS = re.compile(r"\[\d{1,9}\]$")
_ORDER = (Outcome.FAILED, Outcome.DEGRADED, Outcome.STOPPED, Outcome.RUNNING, Outcome.READY)
_LATER = frozenset(
    {FailureClass.ENGINE_DEAD, FailureClass.WORKER_DIED, FailureClass.PEER_LOST}
    | {FailureClass.NCCL_ERROR, FailureClass.NCCL_TIMEOUT, FailureClass.UNKNOWN}
)
"""What a service says when another one took it along: the other's word counts first."""


@dataclass(slots=True)
class Service:
    """One origin of lines: the first and the last that it wrote, and its own reader."""

    reader: FamiliarReader
    first: int
    last: int
    ours: bool = False
    """It wrote in vLLM's own form, went through its code, or has its name."""
    container: bool = False
    """The name is that of a container, which nothing else shares, and not of a program."""


def names_no_process(origin: str) -> bool:
    """Tell whether the name is that of a container or a unit."""
    return _OF_A_PROCESS.search(origin) is None


def name_of(origin: str) -> str:
    """Return the name without its process and without systemd's word for a unit."""
    return _OF_A_PROCESS.sub("", origin).removesuffix(".service")


def shown_name(origin: str, among: dict[str, Service]) -> str:
    """Return the name without its process, where that is enough to tell them apart."""
    name = name_of(origin)
    return name if sum(name_of(other) == name for other in among) == 1 else origin


def one_after_another(services: dict[str, Service]) -> bool:
    """Tell whether they are processes of one name that never wrote at the same time: its runs."""
    if len({name_of(name) for name in services}) > 1:
        return False
    spans = sorted((service.first, service.last) for service in services.values())
    return all(before[1] < after[0] for before, after in pairwise(spans))


def rank(found: Diagnosis) -> tuple[int, bool]:
    """Return what tells which service counts first: the least one does."""
    order = _ORDER.index(found.outcome) if found.outcome in _ORDER else len(_ORDER)
    follows = found.failure in _LATER or (
        found.failure is not None and group_of(found.failure) is Group.SHUTDOWN
    )
    return order, follows
