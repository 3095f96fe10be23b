# SPDX-License-Identifier: Apache-2.0
"""What stands before the lines of a log that something carried, and whose lines they are.

A prefix that no rule knows (stern, srun --label, a log shipper) is learned from the lines that vLLM
itself begins with its own prefix: what stood before those is taken off the others too.
"""

from __future__ import annotations

import re
from dataclasses import replace

from agent.core.diagnosis.lines import Line
from agent.core.diagnosis.usual import Usual

MAX_PREFIXES = 8
"""Different prefixes that are learned of one log, and services that are told apart in it."""

MAX_FORMS = 64
"""Prefixes, but for their time, that are known to be learned; any other is looked at again."""

LONGEST_PREFIX = 200

_HEAD = "Traceback (most recent call last):"
_NUMBERS = re.compile(r"\d+")
_ORIGIN = re.compile(r"([\w.-]+) +\| |\[pod/([^\]]+)\] |([\w.@/()-]+)\[\d+\]: ")
_OF_SYSLOG = re.compile(r"([\w.@/()-]{1,120}\[\d{1,9}\]): ")
_OF_THE_HOST = re.compile(
    r"\b(?:kernel|systemd|systemd-oomd|dockerd|containerd|kubelet)(?:\[\d+\])?: "
)
_UNIT = re.compile(r"([\w@.-]{1,200})\.service: ")
_OURS = re.compile(r"(?:Start(?:ed|ing) )?[\w@.-]{0,100}vllm[\w@.-]{0,100}\.service\b")
_CONTAINER = re.compile(r"([\w.-]{1,200}) exited with code \d")
_SYSTEM = frozenset(
    {
        "kernel",
        "systemd",
        "systemd-oomd",
        "systemd-coredump",
        "dockerd",
        "containerd",
        "podman",
        "kubelet",
        "conmon",
    }
)
_ANYBODY = frozenset(
    {"python", "python3", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"}
    | {"sh", "bash", "vllm", "podman", "docker"}
)
"""Identifiers of the journal that name a program: its service may have any other name."""


class Carriers:
    """The prefixes of one log, learned as it is read."""

    def __init__(self) -> None:
        self._prefixes: dict[str, re.Pattern[str]] = {}
        self._origins: set[str] = set()
        self._forms: set[str] = set()
        self.engine_spoke = False
        """vLLM has spoken in its own form."""
        self._unit_spoke = False

    @property
    def prefixes(self) -> int:
        """How many prefixes are learned: a line is read as before while they stay so many."""
        return len(self._prefixes)

    def know(self, said: Usual, shown: str) -> bool:
        """Tell whether `take` would change nothing of such lines, nor learn from them.

        `shown` is one of them without its carrier. They differ in numbers only, but for what stands
        in quotes. What was learned stays so.
        """
        if said.own:
            if not said.carrier or said.form in self._forms:
                return True
            known = self._learned(said.carrier, _origin_of(said.carrier))
            if known and len(self._forms) < MAX_FORMS:
                self._forms.add(said.form)
            return known
        piece = said.carrier + shown
        found = (prefix.match(piece) for prefix in self._prefixes.values())
        longer = any(one is not None and one.end() > len(said.carrier) for one in found)
        return not longer and not any('"' in shape for shape in self._prefixes)

    def _learned(self, carrier: str, origin: str) -> bool:
        named = not origin or origin in self._origins or len(self._origins) >= MAX_PREFIXES
        full = len(self._prefixes) >= MAX_PREFIXES
        return named and (full or _NUMBERS.sub("0", carrier) in self._prefixes)

    def take(self, line: Line) -> Line:
        """Learn from a line of vLLM's own; return any other without the prefix that was learned."""
        if line.process or line.level:
            self.engine_spoke = True
            if line.carrier:
                self._learn(line.carrier)
            return line
        if not self.engine_spoke and _HEAD in line.text:
            self._learn_of_a_traceback(line)
            return line
        if self._prefixes:
            piece = line.carrier + line.shown
            for prefix in self._prefixes.values():
                found = prefix.match(piece)
                if found is not None and found.end() > len(line.carrier):
                    text = piece[found.end() :]
                    return replace(line, text=text, shown=text, carrier=found.group())
        return line

    def is_foreign(self, line: Line) -> bool:
        """Tell whether a line without vLLM's own prefix is that of another service beside it."""
        if _OURS.match(line.text) is not None:
            self._unit_spoke = True
        if line.process or line.level or not self.engine_spoke:
            return False
        if (unit := _UNIT.match(line.text)) is not None:
            name = unit.group(1)
            named = self._origins - _ANYBODY
            told_apart = bool(named or self._unit_spoke or not self._origins)
            return told_apart and "vllm" not in name and name not in named
        if (container := _CONTAINER.match(line.text)) is not None:
            return bool(self._origins) and container.group(1) not in self._origins
        origin = _origin_of(line.carrier)
        return bool(origin and self._origins) and origin not in self._origins | _SYSTEM

    def _learn_of_a_traceback(self, line: Line) -> None:
        """Learn what stands before the head of a traceback, where vLLM's own prefix never came.

        Nothing that Python prints there stands before it, so that something else put it there.
        """
        if line.text.endswith(_HEAD) and len(line.text) > len(_HEAD):
            self._learn(line.carrier + line.shown[: line.shown.index(_HEAD)])

    def _learn(self, carrier: str) -> None:
        origin = _origin_of(carrier)
        if origin and len(self._origins) < MAX_PREFIXES:
            self._origins.add(origin)
        shape = _NUMBERS.sub("0", carrier)
        if shape in self._prefixes or len(self._prefixes) >= MAX_PREFIXES:
            return
        if len(carrier) <= LONGEST_PREFIX:
            parts = (re.escape(part) for part in _NUMBERS.split(carrier))
            self._prefixes[shape] = re.compile(r"\d{1,20}".join(parts))


def origin_of(carrier: str) -> str:
    """Return whose lines have such a prefix; a program of syslog is told with its process."""
    found = _OF_SYSLOG.search(carrier, 0, LONGEST_PREFIX)
    named = _origin_of(carrier)
    return found.group(1) if found is not None and found.group(1).startswith(f"{named}[") else named


def is_of_the_host(carrier: str) -> bool:
    """Tell whether the prefix is that of the kernel, of systemd or of a container runtime."""
    return _OF_THE_HOST.search(carrier, 0, LONGEST_PREFIX) is not None


def _origin_of(carrier: str) -> str:
    """Return the name of the service, pod or program in a prefix, "" where it names none."""
    found = _ORIGIN.search(carrier, 0, LONGEST_PREFIX)
    return next((name for name in found.groups() if name), "") if found is not None else ""
