# SPDX-License-Identifier: Apache-2.0
"""Learned settings of a group: what one rank learns, all use in the next generation.

Each setting has a version that rises with every change, wherever it is made; of two versions the
higher counts, of equal ones that of the higher member. So all hosts come to the same settings,
in whatever order they hear of each other, and none starts before they are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from agent.core.plain import plain
from agent.core.record import dataclass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import TUNABLES, Tunable
from agent.core.settings.switches import is_switch

HIGHEST_VERSION = 1 << 40

_TURNS_OFF = re.compile(
    r"[A-Z][A-Z0-9_]*=0|(?=[A-Z0-9_]*DISABLE)[A-Z0-9_]+=1|--disable-[a-z0-9-]+"
    r"|--(?:attention|moe)-backend [A-Za-z0-9_]+"
)
"""What a switch may be that another host has learned: it turns a kernel or a feature off."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What runs in place of one configured setting; None: the configured value does."""

    value: Tunable | None
    version: int
    by: int
    """The member that learned it."""

    why: str = ""

    @property
    def rank(self) -> tuple[int, int]:
        """By which of two lessons on one setting the later is known."""
        return self.version, self.by


Lessons = Mapping[str, Lesson]
NO_LESSONS: Lessons = MappingProxyType({})


def sound(lessons: Lessons) -> Lessons:
    """Return those of a peer's lessons that are about what recovery may change, in plain words."""
    return {
        name: Lesson(one.value, one.version, one.by, plain(one.why, 300))
        for name, one in lessons.items()
        if (name in TUNABLES or _TURNS_OFF.fullmatch(name))
        and 0 < one.version < HIGHEST_VERSION
        and 0 <= one.by < HIGHEST_VERSION
        and _has_its_type(name, one.value)
    }


def _has_its_type(name: str, value: Tunable | None) -> bool:
    if value is None:
        return True
    if name == "enforce_eager" or is_switch(name):
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    return value > 0 and (name == "gpu_memory_utilization" or isinstance(value, int))


def newer(mine: Lessons, theirs: Lessons) -> Iterator[tuple[str, Lesson]]:
    """Yield each lesson of another host that is later than the own one."""
    for name, one in theirs.items():
        own = mine.get(name)
        if own is None or one.rank > own.rank:
            yield name, one


def with_own(mine: Lessons, running: Mapping[str, tuple[Tunable, str]], member: int) -> Lessons:
    """Return the lessons with what this host has learned or dropped since they were made.

    `running` are the values in force by setting, each with its reason.
    """
    changed: dict[str, Lesson] = {}
    for name in {*mine, *running}:
        value, why = running.get(name, (None, ""))
        known = mine.get(name)
        if (known.value if known is not None else None) != value:
            version = (known.version if known is not None else 0) + 1
            changed[name] = Lesson(value, version, member, why)
    return {**mine, **changed} if changed else mine


def within(name: str, value: Tunable | None, recovery: Recovery) -> bool:
    """Tell whether this host's own recovery may go as far as another host's has gone."""
    if value is None:
        return True
    if name == "enforce_eager":
        return recovery.allow_enforce_eager
    if is_switch(name):
        return recovery.allow_switches
    low = getattr(recovery, f"min_{name}", 0)
    high = getattr(recovery, f"max_{name}", value)
    return bool(low <= value <= high)
