# SPDX-License-Identifier: Apache-2.0
"""The line that a busy server writes most, told by one short test: a request that it answered.

It says nothing but that the engine works. Where the reader waits for nothing else, what it would
change is known beforehand, and none of the patterns need be tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_PREFIX = r"(?:\(APIServer pid=\d{1,9}\) )?"
_LINE = (
    r"INFO: {5}\d{1,3}(?:\.\d{1,3}){3}:\d{1,5} - \"(?:GET|POST) "
    r"(?:/(?:health|ping|metrics|v1/(?:chat/completions|completions|embeddings|models|responses"
    r"|messages|rerank|score|pooling|classify|audio/transcriptions)))"
    r" HTTP/1\.1\" 200 OK"
)
"""uvicorn's access line of an endpoint of vLLM, as vLLM of all releases has it printed: without
anything of a client's own but its address."""

_ANSWERED = re.compile(_PREFIX + _LINE)
_RUN = re.compile(rf"^({_PREFIX}){_LINE}\n(?:\1{_LINE}\n)*", re.MULTILINE)


class Answers(NamedTuple):
    """Lines of one process ("" if not printed): requests that were work, and that were probes."""

    process: str
    work: int
    probes: int
    lines: Sequence[str]


def answered(raw: str) -> Answers | None:
    """Return what such a line tells, None for any other."""
    return None if _ANSWERED.fullmatch(raw) is None else _told(raw, (raw,))


def parts_of(text: str) -> Iterator[str | Answers]:
    """Give the lines of a text; those of this kind that follow each other are one part."""
    at = 0
    for run in _RUN.finditer(text):
        yield from text[at : run.start()].split("\n")[:-1]
        said, at = run.group(), run.end()
        yield _told(said, said.split("\n")[:-1])
    if rest := text[at:]:
        yield from rest.removesuffix("\n").split("\n")


def _told(said: str, lines: Sequence[str]) -> Answers:
    """Count them: what is no probe, no list of models and no metric is work."""
    work = said.count(" /v1/") - said.count(" /v1/models ")
    probes = said.count(" /health ") + said.count(" /ping ")
    return Answers("APIServer" if said.startswith("(") else "", work, probes, lines)
