# SPDX-License-Identifier: Apache-2.0
"""A log into which several services wrote: `docker compose logs`, a journal of two units.

Lines are told apart by what their carrier names: a container, a pod, a unit, a program of syslog
with its process, or the heading that `tail` prints. Each service that wrote in vLLM's own form is
read for itself, as if it had a file of its own; others are not judged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field

from agent.core.diagnosis.carried.carriers import MAX_FORMS, is_of_the_host, origin_of
from agent.core.diagnosis.carried.heads import Heads
from agent.core.diagnosis.carried.neighbours import (
    Service,
    name_of,
    names_no_process,
    one_after_another,
    rank,
    shown_name,
)
from agent.core.diagnosis.carried.pasted import plain
from agent.core.diagnosis.carried.records import whole_log_in, without_cursors
from agent.core.diagnosis.familiar.blocks import Block
from agent.core.diagnosis.familiar.reader import FamiliarReader
from agent.core.diagnosis.lines import Line, clean_lines
from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.diagnosis.signatures import SignatureSet
from agent.core.diagnosis.usual import Usual, usual, usual_at
from agent.core.failures.classes import FailureClass, Outcome
from agent.core.record import dataclass

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
_UNIT = re.compile(r"(?:(?:Start|Stopp)(?:ed|ing) )?([\w@.\\-]{1,120})\.service\b")
_GONE = re.compile(r"([\w.-]{1,200}) exited with code \d")
_NO_STORY = frozenset({Outcome.RUNNING, Outcome.UNKNOWN})


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
    _services: dict[str, Service] = field(default_factory=dict)
    _pods: dict[str, str] = field(default_factory=dict)
    _heading: str = ""
    _lines: int = 0
    _origin: str = ""
    """Who wrote the line that was taken last, as what carries it tells."""
    _shared: str = ""
    """The one service for which the reader of the whole log has read all there is so far."""
    _named: str = ""
    """What of the line told so."""
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
        self._origin = self._named = ""
        alone = not self._services and not self._heading
        if alone and (known := usual(raw)) is not None:
            self._whole.feed_usual(known)
            return
        lines = tuple(clean_lines(raw))
        heading = _HEADING.match(lines[0].text) if lines else None
        by_itself = not lines or heading is not None or (alone and raw.startswith(_BY_ITSELF))
        host, spoke = False, False
        if not by_itself:
            spoke = bool(lines[0].process or (lines[0].level and lines[0].source))
            self._origin = self._origin_of(raw, lines[0], spoke=spoke)
            host = is_of_the_host(lines[0].carrier)
        shared = self._shared and (heading or self._origin not in ("", self._shared)) and not host
        if shared:
            self._part()
        fresh = self._whole.has_understood_nothing
        self._whole.feed_clean(lines)
        if not self._death and "EngineDeadError" in raw:
            self._death = next((line.text for line in lines if _DEATH.match(line.text)), "")
        if not self._heads.told and len(self._services) < 2:
            own = any(line.level or line.process for line in lines)
            self._heads.take(lines[0].shown if lines and lines[0].carrier else raw, own=own)
        self._heading = heading.group(1) if heading is not None else self._heading
        origin = self._origin or self._heading
        if by_itself:
            return
        if host:
            self._tell(lines)
        elif origin:
            line = lines[0]
            ours = spoke or "vllm" in origin or _ENGINE_CODE.match(line.text) is not None
            self._take(origin, lines, ours=ours, fresh=fresh and not self._services)
        elif self._services:
            self._tell(lines)

    def _part(self) -> None:
        """Give the one service a reader of its own: from here on others are heard, too."""
        self._services[self._shared].reader = self._whole.copy()
        self._shared = ""

    def feed_text(self, text: str) -> None:
        """Take whole lines, each with its end, as `feed` would one by one."""
        if not text:
            return
        text = without_cursors(text if text.endswith("\n") else f"{text}\n")
        block = Block(text)
        at, end = 0, len(block.text)
        while at < end:
            at, taken = self._take_known(block, at)
            at = at if taken else self._take_unknown(block, at)
        self._whole.leave()
        for service in self._services.values():
            service.reader.leave()

    def _take_known(self, block: Block, at: int) -> tuple[int, int]:
        """Take lines of one writer whose forms say all of them; the next place, how many."""
        form = None if self._heading else self._whole.known(block, at)
        if form is None:
            return at, 0
        service = self._services.get(form.origin)
        if service is None and (form.origin or self._services):
            return at, 0  # one of too many services, or a line that is told to all of them
        after, taken = self._whole.take_known(block, at, len(block.text), form)
        self._lines += taken
        if service is not None and taken:
            service.last = self._lines
            reader = service.reader
            while at < after and form.origin != self._shared:
                at, more = reader.take_known(block, at, after, reader.known(block, at))
                at = at if more else reader.take_unknown(block, at, reader.feed)
        return after, taken

    def _take_unknown(self, block: Block, at: int) -> int:
        """Take the line there, or the usual ones, and learn; returns the next place."""
        said = usual_at(block.text, at)
        line, shape = block.line_at(at), block.shape_at(at)
        ready, pods = self._whole.serves, len(self._pods)
        if said is None:
            self.feed(line)
        elif not self._take_usual(said):
            for one in said.lines:
                self.feed(one)
        if len(self._pods) != pods:
            self._whole.forget_forms()
        if not self._heading:
            who = (self._origin, self._named if self._origin else "")
            self._whole.learn(shape, line, ready=ready, who=who)
        return at + sum(len(one) + 1 for one in (said.lines if said is not None else (line,)))

    def _origin_of(self, raw: str, line: Line, *, spoke: bool) -> str:
        """Return who wrote the line; two bare names before vLLM's own prefix are learned."""
        if origin := origin_of(line.carrier):
            self._named = origin
            return origin
        if not spoke:
            self._named = next((pod for pod in self._pods if raw.startswith(pod)), "")
            return self._pods.get(self._named, "")
        self._named = line.carrier
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
        self._origin = self._named = self._origins[part.form]
        origin = self._origin or self._heading
        service = self._services.get(origin)
        if service is None and (self._services or origin):
            return False  # a new service, one whose name is a secret, or the host
        self._lines += len(part.lines)
        self._whole.feed_usual(part)
        if service is not None:
            service.last = self._lines
            service.ours = service.ours or part.own
            if origin != self._shared:
                service.reader.feed_usual(part)
        return True

    def _take(self, origin: str, lines: Sequence[Line], *, ours: bool, fresh: bool) -> None:
        """Give a line to whom it is of; `fresh`: nothing was understood before it."""
        service = self._services.get(origin)
        if service is None:
            if len(self._services) >= MAX_SERVICES:
                return
            reader = self._whole if fresh else FamiliarReader(self.signatures)
            self._shared = origin if fresh else self._shared
            service = Service(reader, self._lines, self._lines)
            service.container = names_no_process(origin)
            self._services[origin] = service
        service.last = self._lines
        service.ours = service.ours or ours
        if origin != self._shared:
            service.reader.feed_clean(lines)

    def _tell(self, lines: Sequence[Line]) -> None:
        """Give a line of the host to whom it names, or to all."""
        text = lines[0].text
        named = _UNIT.search(text) or _GONE.match(text)
        name = named.group(1).removesuffix(".service") if named is not None else ""
        known = [o for o in self._services if name and name_of(o) == name]
        for origin in known or self._services:
            if origin != self._shared:
                self._services[origin].reader.feed_clean(lines)

    def services(self) -> tuple[ServiceFound, ...]:
        """Return what each service's lines show, the one that counts first; () of one alone."""
        ours = {name: service for name, service in self._services.items() if service.ours}
        if len(ours) < 2 or one_after_another(ours):
            return ()
        found = [
            ServiceFound(shown_name(n, ours), s.reader.diagnosis(over=True))
            for n, s in ours.items()
        ]
        return tuple(sorted(found, key=lambda service: rank(service.diagnosis)))

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
