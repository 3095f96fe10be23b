# SPDX-License-Identifier: Apache-2.0
"""A log into which several services wrote: `docker compose logs`, a journal of two units.

Lines are told apart by what their carrier names: a container, a pod, a unit, a program of syslog
with its process, or the heading that `tail` prints. Each service that wrote in vLLM's own form is
read for itself, as if it had a file of its own; others are not judged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from agent.core.diagnosis.carried.carriers import MAX_FORMS, is_of_the_host, origin_of
from agent.core.diagnosis.carried.heads import Heads
from agent.core.diagnosis.carried.pasted import plain
from agent.core.diagnosis.carried.records import whole_log_in
from agent.core.diagnosis.familiar.reader import FamiliarReader
from agent.core.diagnosis.lines import Line, clean_lines
from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.diagnosis.signatures import SignatureSet
from agent.core.diagnosis.usual import Usual, parts_of, usual
from agent.core.failures.classes import FailureClass, Group, Outcome
from agent.core.failures.meaning import group_of

MAX_SERVICES = 16
"""Services that are read for themselves; the lines of more than these are read as one log."""

MAX_LOG = 16 * 1024 * 1024
"""Characters of a line that is read as a whole log, if it is one; a longer one is plain text."""

_BY_ITSELF = ("(APIServer pid=", "(EngineCore", "(Worker", "(VllmWorker")
"""How a line begins that nothing carried."""

_ENGINE_CODE = re.compile(r' *File "[^"]{0,300}/vllm/[^"]{1,200}", line \d')
_TWO_NAMES = re.compile(r"([A-Za-z][\w.-]{1,100}) [A-Za-z][\w.-]{0,100} $")
"""A pod and its container, as stern prints them before each line."""

_DEATH = re.compile(r"(?:vllm\.[\w.]{1,60}\.)?(?:MQ|Async)?EngineDeadError: \S")
"""What vLLM's server throws for each request once its engine is gone (v1/engine/exceptions.py)."""

_HEADING = re.compile(r"==> (\S.{0,200}) <==$")
_OF_A_PROCESS = re.compile(r"\[\d{1,9}\]$")
_UNIT = re.compile(r"(?:(?:Start|Stopp)(?:ed|ing) )?([\w@.\\-]{1,120})\.service\b")
_GONE = re.compile(r"([\w.-]{1,200}) exited with code \d")
_ORDER = (Outcome.FAILED, Outcome.DEGRADED, Outcome.STOPPED, Outcome.RUNNING, Outcome.READY)
_NO_STORY = frozenset({Outcome.RUNNING, Outcome.UNKNOWN})
_LATER = frozenset(
    {FailureClass.ENGINE_DEAD, FailureClass.WORKER_DIED, FailureClass.PEER_LOST}
    | {FailureClass.NCCL_ERROR, FailureClass.NCCL_TIMEOUT, FailureClass.UNKNOWN}
)
"""What a service says when another one took it along: the other's word counts first."""


@dataclass(slots=True)
class _Service:
    """One origin of lines: the first and the last that it wrote, and its own reader."""

    reader: LogReader
    first: int
    last: int
    ours: bool = False
    """It wrote in vLLM's own form, went through its code, or has its name."""
    container: bool = False
    """The name is that of a container, which nothing else shares, and not of a program."""


@dataclass(frozen=True, slots=True)
class ServiceFound:
    """A service that wrote into the log, and what its lines show."""

    name: str
    diagnosis: Diagnosis


@dataclass(slots=True)
class ServicesReader:
    """Reads a log of one service or of several: `feed` it, then ask for `diagnosis`."""

    signatures: SignatureSet
    _whole: FamiliarReader = field(init=False)
    _services: dict[str, _Service] = field(default_factory=dict)
    _pods: dict[str, str] = field(default_factory=dict)
    _heading: str = ""
    _lines: int = 0
    _heads: Heads = field(default_factory=Heads)
    _death: str = ""
    """The engine's death as a record of a request tells it, which a client could have written."""
    _origins: dict[str, str] = field(default_factory=dict)
    """Whose usual lines are, by what carries them but for the time."""

    def __post_init__(self) -> None:
        self._whole = FamiliarReader(self.signatures)

    def feed(self, raw: str) -> None:
        """Take one raw line, whatever carried it; never raises for its content."""
        if raw.startswith('"') and len(raw) <= MAX_LOG and (log := whole_log_in(raw)) is not None:
            for line in log.splitlines():
                self._feed(line)
            return
        self._feed(raw)

    def _feed(self, raw: str) -> None:
        raw = plain(raw)
        self._lines += 1
        alone = not self._services and not self._heading
        if alone and (known := usual(raw)) is not None:
            self._whole.feed_usual(known)
            return
        lines = tuple(clean_lines(raw))
        self._whole.feed_clean(lines)
        if not self._death and "EngineDeadError" in raw:
            self._death = next((line.text for line in lines if _DEATH.match(line.text)), "")
        if alone and not self._heads.told:
            self._heads.take(raw, own=any(line.level or line.process for line in lines))
        if not lines or (alone and raw.startswith(_BY_ITSELF)):
            return
        line = lines[0]
        if (heading := _HEADING.match(line.text)) is not None:
            self._heading = heading.group(1)
            return
        spoke = bool(line.process or (line.level and line.source))
        origin = self._origin_of(raw, line, spoke=spoke) or self._heading
        if is_of_the_host(line.carrier):
            self._tell(lines)
        elif origin:
            ours = spoke or "vllm" in origin or _ENGINE_CODE.match(line.text) is not None
            self._take(origin, lines, ours=ours)
        elif self._services:
            self._tell(lines)

    def feed_text(self, text: str) -> None:
        """Take whole lines, each with its end, as `feed` would one by one."""
        for part in parts_of(text):
            if isinstance(part, str):
                self._feed_lines(part)
            elif not self._take_usual(part):
                for line in part.lines:
                    self.feed(line)

    def _feed_lines(self, text: str) -> None:
        """Take lines; what the one reader knows by its shape it takes at once."""
        at = self._whole.feed_lines(text, self._feed_alone) if self._is_alone else 0
        if at <= len(text):
            for line in text[at:].split("\n"):
                self.feed(line)

    @property
    def _is_alone(self) -> bool:
        return not (self._services or self._heading or self._pods)

    def _feed_alone(self, raw: str) -> bool:
        self.feed(raw)
        return self._is_alone

    def _origin_of(self, raw: str, line: Line, *, spoke: bool) -> str:
        """Return who wrote the line; two bare names before vLLM's own prefix are learned."""
        if origin := origin_of(line.carrier):
            return origin
        if not spoke:
            return next((self._pods[p] for p in self._pods if raw.startswith(p)), "")
        names = _TWO_NAMES.match(line.carrier)
        if names is not None and len(self._pods) < MAX_SERVICES:
            self._pods[line.carrier] = names.group(1)
        return names.group(1) if names is not None else ""

    def _take_usual(self, part: Usual) -> bool:
        """Take usual lines at once; False, and nothing, where they may tell of a new service."""
        if part.form not in self._origins:
            if len(self._origins) >= MAX_FORMS:
                self._origins.clear()
            self._origins[part.form] = origin_of(part.carrier)
        origin = self._origins[part.form] or self._heading
        service = self._services.get(origin)
        if service is None and (self._services or origin):
            return False  # a new service, one whose name is a secret, or the host
        self._lines += len(part.lines)
        self._whole.feed_usual(part)
        if service is not None:
            service.last = self._lines
            service.ours = service.ours or part.own
            service.reader.feed_usual(part)
        return True

    def _take(self, origin: str, lines: Sequence[Line], *, ours: bool) -> None:
        service = self._services.get(origin)
        if service is None:
            if len(self._services) >= MAX_SERVICES:
                return
            service = _Service(LogReader(self.signatures), self._lines, self._lines)
            service.container = _OF_A_PROCESS.search(origin) is None
            self._services[origin] = service
        service.last = self._lines
        service.ours = service.ours or ours
        service.reader.feed_clean(lines)

    def _tell(self, lines: Sequence[Line]) -> None:
        """Give a line of the host to whom it names, or to all."""
        text = lines[0].text
        named = _UNIT.search(text) or _GONE.match(text)
        name = named.group(1).removesuffix(".service") if named is not None else ""
        known = [o for o in self._services if name and _name_of(o) == name]
        for origin in known or self._services:
            self._services[origin].reader.feed_clean(lines)

    def services(self) -> tuple[ServiceFound, ...]:
        """Return what each service's lines show, the one that counts first; () of one alone."""
        ours = {name: service for name, service in self._services.items() if service.ours}
        if len(ours) < 2 or _one_after_another(ours):
            return ()
        found = [
            ServiceFound(_shown(n, ours), s.reader.diagnosis(over=True)) for n, s in ours.items()
        ]
        return tuple(sorted(found, key=lambda service: _rank(service.diagnosis)))

    def diagnosis(self) -> Diagnosis:
        """Return what the log shows: of several services, of the one that failed first."""
        if found := self.services():
            return found[0].diagnosis
        ours = [service for service in self._services.values() if service.ours]
        alone = len(ours) == 1 < len(self._services) and all(
            service.container for service in self._services.values()
        )
        told = ours[0].reader.diagnosis(over=True) if alone else self._whole.diagnosis(over=True)
        lines: list[str] = []
        if told.outcome is Outcome.UNKNOWN:
            lines = self._heads.lines()
        elif told.guessed or told.failure is FailureClass.UNKNOWN:
            lines = self._heads.turned()
        if not lines and self._death and _shows_nothing(told):
            lines = [self._death]
        if not lines:
            return told
        again = LogReader(self.signatures)
        for line in lines:
            again.feed(line)
        return again.diagnosis()


def _shows_nothing(told: Diagnosis) -> bool:
    """Tell whether there is no line of a start, of a server at work or of a failure."""
    return told.failure is None and not told.evidence and told.outcome in _NO_STORY


def _name_of(origin: str) -> str:
    return _OF_A_PROCESS.sub("", origin).removesuffix(".service")


def _shown(origin: str, among: dict[str, _Service]) -> str:
    """Return the name without its process, where that is enough to tell them apart."""
    name = _name_of(origin)
    return name if sum(_name_of(other) == name for other in among) == 1 else origin


def _one_after_another(services: dict[str, _Service]) -> bool:
    """Tell whether they are processes of one name that never wrote at the same time: its runs."""
    if len({_name_of(name) for name in services}) > 1:
        return False
    spans = sorted((service.first, service.last) for service in services.values())
    return all(before[1] < after[0] for before, after in pairwise(spans))


def _rank(found: Diagnosis) -> tuple[int, bool]:
    order = _ORDER.index(found.outcome) if found.outcome in _ORDER else len(_ORDER)
    follows = found.failure in _LATER or (
        found.failure is not None and group_of(found.failure) is Group.SHUTDOWN
    )
    return order, follows
