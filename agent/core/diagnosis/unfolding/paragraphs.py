# SPDX-License-Identifier: Apache-2.0
"""A log whose line breaks were lost: it is broken where vLLM's and Python's own lines begin."""

from __future__ import annotations

import re
from itertools import pairwise

from agent.core.diagnosis.unfolding.containers import FEW
from agent.core.diagnosis.unfolding.quotes import outside, quoted_in

_RECORD = (
    r"(?:\([A-Za-z][\w =-]{0,40} pid=\d{1,9}(?:, ip=[\d.]{1,40})?\) )?"
    r"(?:\[rank\d{1,4}\]: )?"
)
_OWN = (
    r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})? "
    r"\[?[\w./]{1,80}\.py:\d{1,6}\]"
)
_BREAK = re.compile(
    rf"(?<!\S)(?={_RECORD}(?:{_OWN}|(?:INFO|ERROR|WARNING): {{1,9}}(?=[A-Z\d(])"
    r"|Traceback \(most recent call last\):|During handling of the above exception"
    r"|The above exception was the direct cause| {0,4}File \"[^\"]{1,300}\", line \d{1,6}, in \S)"
    r"|\([A-Za-z][\w =-]{0,40} pid=\d{1,9}\) |usage: \w|(?:[\w.-]{1,60} ){1,2}?error: (?=\S)"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]{1,60} [\w.@/()-]{1,60}(?:\[\d{1,9}\])?: "
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d) )"
)
_PREFIX = re.compile(rf"\A{_RECORD}(?:{_OWN})?\s{{0,99}}$")
_FRAME = re.compile(
    rf"\A(?P<prefix>{_RECORD}(?:{_OWN} )?)\s{{0,99}}"
    r"(?P<frame>File \"[^\"]{1,300}\", line \d{1,6}, in [\w<>.]{1,100})(?P<rest>.*)$",
    re.DOTALL,
)
_EXCEPTION = re.compile(
    r"(?<=\s)(?<!raise )(?<!except )(?=(?:[a-z_]\w{0,60}\.){0,12}[A-Z]\w{0,60}"
    r"(?:Error|Exception|Interrupt|Exit|Timeout|NotFound|Unavailable)\b(?:: |$|\s*$))"
)


def broken_up(lines: list[str]) -> list[str]:
    """Return the lines of a paragraph that holds a log, or as they are where none does."""
    said = [line for line in lines if line.strip()]
    if not said or len(said) > FEW:
        return lines
    parts = [part for line in said for part in _parts_of(line)]
    return parts if len(parts) > len(said) + 1 else lines


def _parts_of(line: str) -> list[str]:
    """Return what a paragraph is broken into; a prefix stays with what it stands before."""
    quoted = quoted_in(line)
    found = (found.start() for found in _BREAK.finditer(line))
    places = [0, *(place for place in found if place and outside(quoted, place)), len(line)]
    pieces: list[str] = []
    for begin, end in pairwise(places):
        piece = line[begin:end]
        if pieces and _PREFIX.fullmatch(pieces[-1].strip()) is not None:
            pieces[-1] = f"{pieces[-1].rstrip()} {piece}"
        else:
            pieces.append(piece)
    return [part for piece in pieces for part in _frames_of(piece.strip()) if part.strip()]


def _frames_of(piece: str) -> list[str]:
    """Return a frame, its line of code and the exception behind it as lines of their own."""
    found = _FRAME.match(piece)
    if found is None:
        return [piece]
    prefix, rest = found["prefix"], found["rest"].strip()
    thrown = _EXCEPTION.search(f" {rest}")
    code, exception = (
        (rest, "")
        if thrown is None
        else (
            rest[: thrown.start() - 1 if thrown.start() else 0],
            rest[max(0, thrown.start() - 1) :],
        )
    )
    lines = [f"{prefix}  {found['frame']}"]
    if code.strip():
        lines.append(f"{prefix}    {code.strip()}")
    if exception.strip():
        lines.append(f"{prefix}{exception.strip()}")
    return lines
