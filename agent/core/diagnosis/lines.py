# SPDX-License-Identifier: Apache-2.0
"""From raw log text to clean lines, whatever wrote, carried or coloured it.

vLLM's own prefixes (0.6.3..0.32): "INFO 11-12 10:00:00 file.py:1060] text" to 0.7,
"[file.py:1060]" from 0.8, "(EngineCore pid=1) " before it from 0.8 (workers) or 0.10 (all),
coloured without a terminal in 0.10..0.15. In 0.31+ tracebacks and uvicorn's lines have no prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.core.diagnosis.carried.records import text_of
from agent.core.record import dataclass
from agent.core.secrets import without_any_secret, without_quotations, without_secrets

MAX_LINE = 32_768
"""Characters of one raw line that are looked at; the engine config line has about 6,000."""

MAX_PIECES = 400
"""Parts between carriage returns that are looked at in one raw line: the last ones."""

TAIL_CHARACTERS = 500
"""Characters that are kept of one of the last lines."""

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_COLOUR_LEFTOVER = re.compile(
    r"#033\[[0-9;]*m|(?:\^\[|ESC|\\x1b|\\033|\\u001b)\[[0-9;]*m"
    r"|(?<![\w\]])\[(?:0;|1;)?(?:0|3[0-7])m|\^M$"
)
"""Escapes as journald, `less`, `cat -v`, JSON and web pages spell them, or what is left of them."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Also C1, and the marks that turn the direction of writing."""

_PROCESS = re.compile(r"\(([A-Za-z][\w =-]{0,40}?) pid=(\d{1,18})(?:, ip=[\d.]+)?\) ?")
_HEADER = re.compile(
    r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL) (\d\d-\d\d \d\d:\d\d(?::\d\d)?)(?:\.\d+)? "
    r"\[?(?:([\w./<>-]+):(\d{1,9})\]|[\w./-]+\.py:(?!\d)) ?"
)
_INNER = re.compile(r"(?:\[rank\d+\]: ?|\([A-Za-z][\w =-]{0,40}? pid=\d+(?:, ip=[\d.]+)?\) ?)+")
"""What torch and Ray put before the message, inside vLLM's own prefix or without it."""

_SAID_BEFORE = re.compile(r"(?:Error|Exception|Timeout|Fault)\b")
"""What stands before a quoted prefix: an exception's own words go on, whatever is in them."""

_PROGRAM = re.compile(r"(?:^| )([A-Za-z0-9_.@/()-]{1,60})\[\d{1,9}\]: ")

_GLUED = re.compile(
    r" (?=(?:\([A-Za-z][\w =-]{0,40} pid=\d{1,9}\) )?(?:INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d "
    r"\d\d:\d\d:\d\d \[?[\w/]{1,60}\.py:\d{1,5}\])"
)
"""The space between two records in one line, as web pages and chats leave them."""

_RESIDUE = re.compile(
    r"(?:\d\d:\d\d:\d\d )?(?:(DEBUG|INFO|WARNING|ERROR|CRITICAL):? +)?\[([\w./]+\.py:\d+)\] "
)
"""What is left of vLLM's prefix where a person or a log shipper cut the date out."""

_TRANSPORT = re.compile(
    r"(?:"
    # docker compose, kubectl --prefix, stern; CRI, docker and build-farm timestamps
    # srun --label and mpirun --tag-output put the rank before the line, pm2 a number
    r"(?:\d{1,3}\|)?[\w.-]*\s+\| |\[\d{1,5},\d{1,5}\]<std(?:out|err)>: ?"
    r"|\d{1,4}: |\[\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\]]{0,12}\]\s+|\[pod/[^\]]+\] "
    r"|(?:\w+ )?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?"
    r"(?:Z|[+-]\d\d:?\d\d)?\s+(?:std(?:out|err) [FP] |[A-Z]{3,5} (?=[\w.-]+ [\w.@/()-]+\[))?"
    # journalctl: short, short-iso has the stamp above, short-monotonic and dmesg
    r"|(?:[A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d+)? )"
    r"|\[[ \d]{1,12}\.\d{1,6}\] (?:\[ {0,9}T\d{1,9}\] )?"
    r"|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\] |kernel: "
    r"|[A-Za-z0-9][\w.-]* (?:[\w.@/()-]+\[\d+\]|kernel|systemd): "
    r"|<\d>"
    r")"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One clean line: without colours, control characters and secrets."""

    text: str
    """The message alone."""
    shown: str
    """What a person sees of the line: the message with vLLM's own prefix."""
    process: str = ""
    """vLLM's own name of its process ("EngineCore", "Worker_TP1"); "" when not printed."""
    level: str = ""
    """"INFO", "ERROR" and the like; "" outside log records."""
    stamp: str = ""
    """"11-21 03:05:45", local time without year; "" outside log records."""
    source: str = ""
    """"file.py:line", where vLLM's prefix names it."""
    width: int = 0
    """Characters of the physical line, without colours."""
    carrier: str = ""
    """What stood before `shown`: the prefix of journald, docker, Kubernetes and the like; and
    what stands between the name of a process and vLLM's own prefix, where nothing should."""
    program: str = ""
    """Whose line the journal says it is ("vllm" of "vllm[4711]: "); "" where nothing says so."""
    first: bool = True
    """False for what follows a carriage return within one raw line, and for the rest of a line."""
    recorded: str = ""
    """How the record begins that carried it, "{" for JSON and "t" for logrus's text; or ""."""


def clean_lines(raw: str, *, goes_on: bool = False) -> Iterator[Line]:
    """Give the lines in one raw line: several where a progress bar glued them by returns.

    `goes_on`: it is the rest of the one before.
    """
    text = text_of(raw)
    recorded = raw[:1] if text is not raw and raw[0] in "{t" else ""
    raw = text
    if len(raw) > MAX_LINE:
        raw = f"{raw[: MAX_LINE // 2]} … {raw[-MAX_LINE // 2 :]}"
    if "\x1b" in raw:
        raw = _ANSI.sub("", raw)
    if raw.count(".py:") > 1:
        raw = _GLUED.sub("\n", raw)
    if "\r" not in raw and "\n" not in raw:
        yield _clean(raw, first=not goes_on, recorded=recorded)
        return
    pieces = [piece for piece in re.split(r"[\r\n]+", raw) if piece.strip()]
    for index, piece in enumerate(pieces[-MAX_PIECES:]):
        yield _clean(piece, first=index == 0 and not goes_on, recorded=recorded)


def _clean(piece: str, *, first: bool = True, recorded: str = "") -> Line:
    if not piece.isprintable():
        piece = _CONTROL.sub("", piece)
    piece = piece.removesuffix("#015")
    if "#033[" in piece or "m(" in piece or "[0;0m" in piece or "[0m" in piece or "^M" in piece:
        piece = _COLOUR_LEFTOVER.sub("", piece)
    piece = without_secrets(piece)
    process, level, stamp, source = "", "", "", ""
    start = 0
    header = _HEADER.search(piece, 0, 400)
    if header is not None and _SAID_BEFORE.search(piece, 0, header.start()) is not None:
        header = None
    if header is not None:
        level, stamp = header.group(1), header.group(2)
        source = f"{(header.group(3) or '').rpartition('/')[2]}:{header.group(4) or 0}"
        start = header.end()
        before = header.start()
    else:
        before = 200
    named = _PROCESS.search(piece, 0, before) if " pid=" in piece else None
    if named is not None:
        process = named.group(1)
        start = max(start, named.end())
        begin = named.start()
    elif header is not None:
        begin = header.start()
    else:
        begin = start = _after_transport(piece)
    if header is None and ".py:" in piece and (residue := _RESIDUE.match(piece, start)):
        start = residue.end()
        level, source = residue.group(1) or "", residue.group(2).rpartition("/")[2]
    if piece.startswith(("[rank", "("), start) and (inner := _INNER.match(piece, start)):
        start = inner.end()
    between = ""
    if header is not None and named is not None and named.end() < header.start():
        between = piece[named.end() : header.start()]
        between = "" if _INNER.fullmatch(between) else between
    return Line(
        piece[start:].rstrip(),
        piece[begin:].rstrip(),
        process,
        level,
        stamp,
        source,
        len(piece),
        piece[:begin] + between,
        program_in(piece[:begin]),
        first,
        recorded,
    )


def program_in(carrier: str) -> str:
    """Return the program that a prefix of syslog names ("vllm" of "host vllm[4711]: "), or ""."""
    named = _PROGRAM.search(carrier) if len(carrier) > len("a[1]: ") else None
    return "" if named is None else named.group(1)


def _after_transport(piece: str) -> int:
    """Return where the message begins behind the prefixes of whatever carried the line."""
    if not piece or (piece[0] == " " and not piece.lstrip(" ").startswith("| ")):
        return 0
    position = 0
    for _ in range(4):
        found = _TRANSPORT.match(piece, position)
        if found is None:
            break
        position = found.end()
    return position


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds from one "MM-DD HH:MM:SS" stamp to another; infinite when unknown."""
    try:
        first, second = (seconds_of(stamp) for stamp in (earlier, later))
    except ValueError:
        return float("inf")
    return second - first if second >= first else float("inf")


def seconds_of(stamp: str) -> int:
    """Return the second of the month of a "MM-DD HH:MM:SS" stamp; ValueError for another text."""
    day, clock = stamp.split(" ")
    hours, minutes, seconds = (int(part) for part in f"{clock}:0".split(":")[:3])
    return int(day[3:5]) * 86400 + hours * 3600 + minutes * 60 + seconds


def shown(kept: tuple[str, ...]) -> tuple[str, ...]:
    """Return kept lines as others may see them: without quotations, none longer than before."""
    return tuple(without_quotations(without_any_secret(line))[:TAIL_CHARACTERS] for line in kept)
