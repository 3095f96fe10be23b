# SPDX-License-Identifier: Apache-2.0
"""What can happen to a group, and nights of it drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tests.nights.groups.engines import HEAD

MINUTE = 60.0


class What(StrEnum):
    """The kinds of things that happen; availability is printed for each."""

    RANK_DIES = "a rank dies"
    HEAD_DIES = "the head dies"
    HEAD_HANGS = "the head hangs"
    FAILS_ONCE = "a rank dies, and its next start fails"
    FAILS_LONG = "one host's starts fail for a while"
    NEIGHBOUR = "a neighbour takes memory on one host"
    AGENT_KILLED = "kill -9 of an agent"
    AGENT_AWAY = "an agent is away for a while"
    REBOOT = "a host reboots"
    HOST_OFF = "a host is off for a while"
    CUT = "a cable is cut"
    ONE_WAY = "a cable loses one direction"
    FIREWALL = "a host can open no connections"
    PARTITION = "the group is cut in two"


LASTS = frozenset(
    {
        *(What.FAILS_LONG, What.NEIGHBOUR, What.AGENT_AWAY, What.HOST_OFF),
        *(What.CUT, What.ONE_WAY, What.FIREWALL, What.PARTITION),
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens to one host, `at` seconds into the night, and stays for `seconds`.

    `hosts` are those on the same side of a cut.
    """

    at: float
    what: What
    host: int
    seconds: float = 0.0
    hosts: tuple[int, ...] = ()
    size: float = 0.0

    def lost(self, everybody: Iterable[int]) -> list[tuple[int, int]]:
        """Return who sends in vain to whom."""
        side = self.hosts or (self.host,)
        across = [(one, other) for one in side for other in everybody if other not in side]
        if self.what in (What.ONE_WAY, What.FIREWALL):
            return across
        return across + [(other, one) for one, other in across]


def drawn(rng: random.Random, hosts: int, hours: float) -> tuple[Fault, ...]:
    """Return what happens in one night: one to six things, of which none lasts to the end."""
    times = sorted(rng.uniform(0, hours * 3600) for _ in range(rng.randint(1, 6)))
    if len(times) > 1 and rng.random() < 0.4:
        times[1] = times[0] + rng.uniform(0, 120)  # troubles like company
    return tuple(_fault(rng, at, hosts) for at in times)


def _fault(rng: random.Random, at: float, hosts: int) -> Fault:
    what = rng.choice(list(What))
    host = rng.randrange(hosts)
    if what in (What.HEAD_DIES, What.HEAD_HANGS):
        host = HEAD
    elif what is What.RANK_DIES:
        host = rng.randrange(1, hosts)
    side: tuple[int, ...] = ()
    if what is What.PARTITION:
        side = tuple(sorted(rng.sample(range(hosts), rng.randint(1, hosts - 1))))
    lasting = rng.choice([5.0, 40.0, 3 * MINUTE, 10 * MINUTE, 30 * MINUTE])
    size = rng.uniform(2.0, 8.0) if what is What.NEIGHBOUR else 0.0
    return Fault(at, what, host, lasting if what in LASTS else 0.0, side, size)
