# SPDX-License-Identifier: Apache-2.0
"""The lines that a busy server writes most, told by one short test: answers and statistics.

An answer is uvicorn's access line of an endpoint of vLLM; statistics are vLLM's line of throughput.
They say nothing but that the engine works, whatever carried them. Where the reader waits for
nothing else, what they would change is known beforehand, and none of the patterns need be tried.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_PREFIX = r"(?:\(APIServer pid=\d{1,9}\) )?"
_BEFORE_STATUS = (
    r"INFO: {5}\d{1,3}(?:\.\d{1,3}){3}:\d{1,5} - \"(?:GET|POST) "
    r"(?:/(?:health|ping|metrics|v1/(?:chat/completions|completions|embeddings|models|responses"
    r"|messages|rerank|score|pooling|classify|audio/transcriptions)))"
    r" HTTP/1\.1\" "
)
_REFUSED = r"(?:400 Bad Request|401 Unauthorized|404 Not Found|429 Too Many Requests)"
"""uvicorn's access line of an endpoint of vLLM, as vLLM of all releases has it printed: without
anything of a client's own but its address."""

_OF_STATISTICS = (
    r"(?P<record>INFO (?P<stamp>\d\d-\d\d \d\d:\d\d:\d\d) \[?(?:[\w/]{1,60}/)?"
    r"(?P<source>(?:loggers|metrics)\.py:\d{1,6})\] )(?P<text>(?:Engine \d{3}: )?"
    r"Avg prompt throughput: (?P<prompt>\d{1,9}\.\d) tokens/s, "
    r"Avg generation throughput: (?P<generation>\d{1,9}\.\d) tokens/s, "
    r"Running: (?P<running>\d{1,6}) reqs(?:, (?:Swapped|Pending|Waiting|Deferred): \d{1,6} reqs"
    r"|, (?:[GC]PU KV cache usage|(?:External p|P)refix cache hit rate|MM cache hit rate)"
    r": \d{1,3}\.\d%){1,7}\.?)"
)
"""vLLM's line of throughput (metrics.py to 0.8, v1/metrics/loggers.py since), numbers only."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}"
_PROGRAM = rf"{_NAME} [A-Za-z0-9_.@/-]{{1,60}}\[\d{{1,9}}\]: "
_DAY = r"\d{4}-\d\d-\d\d[T ]"
_ZONE = r"(?:Z|[+-]\d\d:?\d\d)?"
_HOURS = r"\d\d:\d\d:\d\d"
_CARRIERS = (
    ("", "", ""),
    (rf"{_NAME} {{1,40}}\| ", "", ""),
    (r"[A-Z][a-z]{2} [ \d]\d ", _HOURS, f" {_PROGRAM}"),
    (_DAY, _HOURS, rf"{_ZONE} {_PROGRAM}"),
    (rf"(?:{_NAME} {{1,40}}\| )?{_DAY}", _HOURS, rf"{_ZONE} (?:std(?:out|err) F )?"),
    (
        rf"(?:{_NAME} {{1,40}}\| )?{_DAY}",
        rf"{_HOURS}\.\d{{1,9}}",
        rf"{_ZONE} (?:std(?:out|err) F )?",
    ),
)
"""What carries a log, as (before, time, behind): nothing, docker compose, journalctl's short and
short-iso, and the times of docker and CRI. Carriers of one form that differ in the time only are
the same but for their numbers."""


def _runs_of(before: str, time: str, behind: str, n: int) -> str:
    """Return the pattern of one process' requests, all accepted or all refused."""
    first = rf"(?P<a{n}>{before}){time}(?P<b{n}>{behind})(?P<p{n}>{_PREFIX})"
    again = rf"(?P=a{n}){time}(?P=b{n})(?P=p{n})"
    status = rf"(?:(?P<s{n}>200 OK)|{_REFUSED})"
    same = rf"(?(s{n})200 OK|{_REFUSED})"
    return rf"{first}{_BEFORE_STATUS}{status}\n(?:{again}{_BEFORE_STATUS}{same}\n)*"


_ANSWERED = re.compile(rf"{_PREFIX}{_BEFORE_STATUS}(?:200 OK|{_REFUSED})")
_COUNTED = re.compile(rf"(?P<process>{_PREFIX}){_OF_STATISTICS}")
_CARRIED = "|".join(
    f"(?P<c{n}>{before}){time}(?P<d{n}>{behind})"
    for n, (before, time, behind) in enumerate(_CARRIERS)
)
_PART = re.compile(
    "^(?:"
    + "|".join(_runs_of(*form, n) for n, form in enumerate(_CARRIERS))
    + rf"|(?:{_CARRIED}){_PREFIX}{_OF_STATISTICS}\n)",
    re.MULTILINE,
)


class Answers(NamedTuple):
    """Lines of one process ("" if not printed), all accepted or all refused: work, and probes.

    `carrier` is what stands before the first line, and the same but for the time before the others:
    `form` is that without a time. `bare` are the first and the last line without it, where somebody
    cut it off; then `lines` only tell how many they are.
    """

    process: str
    work: int
    probes: int
    lines: Sequence[str]
    accepted: bool = True
    carrier: str = ""
    form: str = ""
    bare: Sequence[str] = ()

    @property
    def own(self) -> bool:
        """Whether vLLM's own prefix stands before them."""
        return bool(self.process)

    @property
    def shown(self) -> Sequence[str]:
        """The last lines, without what carried them."""
        if self.bare:
            return self.bare
        if not self.carrier:
            return self.lines[-SHOWN:]
        mark = "(APIServer pid=" if self.process else "INFO: "
        return [line[line.rindex(mark) :] for line in self.lines[-SHOWN:]]


class Statistics(NamedTuple):
    """One line of throughput: its own prefix apart, and whether tokens went in or out.

    `carrier`, `form` and `bare` are as those of Answers.
    """

    process: str
    stamp: str
    source: str
    text: str
    moved: bool
    running: int
    line: str
    carrier: str = ""
    form: str = ""
    bare: str = ""

    @property
    def own(self) -> bool:
        """Whether vLLM's own prefix stands before it: its records have one ever."""
        return True

    @property
    def lines(self) -> Sequence[str]:
        """The line as it came."""
        return (self.line,)

    @property
    def shown(self) -> Sequence[str]:
        """The line without what carried it."""
        return (self.bare or self.line[len(self.carrier) :],)


Usual = Answers | Statistics

SHOWN = 20
"""Lines of a run that are ever shown: the last ones."""


def usual(raw: str) -> Usual | None:
    """Return what such a line tells that nothing carried, None for any other."""
    if _ANSWERED.fullmatch(raw) is not None:
        return _told(raw, (raw,), "")
    found = _COUNTED.fullmatch(raw) if "Avg prompt" in raw else None
    return None if found is None else _counted(found, raw, "")


def accepted(raw: str) -> bool:
    """Tell whether a request was accepted, and nothing carried the line: nobody's words are in it.

    A client that is refused chose what it asked for, be it an endpoint of vLLM's own.
    """
    return raw.endswith(" 200 OK") and _ANSWERED.fullmatch(raw) is not None


def usual_at(text: str, at: int) -> Usual | None:
    """Return what the line that begins there tells, and those of its kind behind it; or None.

    The text is of whole lines, each with its end.
    """
    run = _PART.match(text, at)
    return None if run is None else _part(run)


def _part(run: re.Match[str]) -> Usual:
    said = run.group()
    if run["text"] is not None:
        return _counted(run, said[:-1], _form(run, "c", "d"))
    return _told(said, said.split("\n")[:-1], _form(run, "a", "b"))


def _form(run: re.Match[str], before: str, behind: str) -> str:
    """Return what carries the lines but for the time."""
    for n in range(len(_CARRIERS)):
        if (part := run[f"{before}{n}"]) is not None:
            return f"{part}{run[f'{behind}{n}']}"
    return ""


def _start(line: str) -> int:
    """Return where vLLM's own words begin, behind what carried them."""
    named = line.rfind("(APIServer pid=")
    return named if named >= 0 else line.rindex("INFO")


def _told(said: str, lines: Sequence[str], form: str) -> Answers:
    """Count them: what is no probe, no list of models and no metric is work."""
    carrier = lines[0][: _start(lines[0])] if form else ""
    work = said.count(" /v1/") - said.count(" /v1/models ")
    probes = said.count(" /health ") + said.count(" /ping ")
    process = "APIServer" if said.startswith("(", len(carrier)) else ""
    return Answers(process, work, probes, lines, lines[0].endswith(" 200 OK"), carrier, form)


def _counted(found: re.Match[str], line: str, form: str) -> Statistics:
    moved = bool(float(found["prompt"]) or float(found["generation"]))
    carrier = line[: _start(line)] if form else ""
    process = "APIServer" if line.startswith("(", len(carrier)) else ""
    running = int(found["running"])
    stamp, source, text = found["stamp"], found["source"], found["text"]
    return Statistics(process, stamp, source, text, moved, running, line, carrier, form)
