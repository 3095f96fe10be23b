# SPDX-License-Identifier: Apache-2.0
"""How the same log looks where people paste it, and as services that store logs export it."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable

Lines = list[str]


def _second(number: int) -> str:
    return f"10:{number // 420 % 60:02}:{number // 7 % 60:02}"


def _part(number: int) -> str:
    return f"{number * 142_857 % 1_000_000:06}"


def _iso(number: int) -> str:
    return f"2026-11-20T{_second(number)}.{_part(number)}Z"


def _quoted(line: str) -> str:
    return '"' + line.replace('"', '""') + '"'


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _each(carry: Callable[[str, int], str]) -> Callable[[Lines], str]:
    return lambda lines: _text(carry(line, number) for number, line in enumerate(lines))


def _newest_first(carry: Callable[[str, int], str], head: str = "") -> Callable[[Lines], str]:
    def form(lines: Lines) -> str:
        rows = [carry(line, number) for number, line in enumerate(lines)]
        return head + _text(reversed(rows))

    return form


def broken(width: int, *, before: str = "", blanks: bool = False) -> Callable[[Lines], str]:
    """Return what breaks lines behind a prefix at a width, and fills them with blanks."""

    def form(lines: Lines) -> str:
        whole = (before + line for line in lines)
        parts = [line[at : at + width] for line in whole for at in range(0, len(line) or 1, width)]
        return _text(part.ljust(width) if blanks else part for part in parts)

    return form


def _beside_another(before: str, other: str) -> Callable[[Lines], str]:
    """Return what carries lines among those of another service."""

    def form(lines: Lines) -> str:
        told = ("GET /odd 200 12ms", "user 77 logged in", "took 12 ms")
        return _text(
            row
            for number, line in enumerate(lines)
            for row in (before + line, *([other + told[number % 3]] if number % 4 == 0 else []))
        )

    return form


def _kibana(line: str, number: int) -> str:
    time = f"Nov 20, 2026 @ {_second(number)}.{_part(number)[:3]}"
    return f'"{time}","vllm-0",{_quoted(line)}'


def _journal(line: str, number: int) -> str:
    time = str(1_763_690_000_000_000 + number * 142_857)
    return json.dumps(
        {"__REALTIME_TIMESTAMP": time, "_SYSTEMD_UNIT": "vllm.service", "MESSAGE": line}
    )


JOURNAL = "Nov 20 10:00:00 gpu-1 vllm[4711]: "
POD = "vllm-7c9d8b6f5-x2x4q vllm "
FORMS: dict[str, Callable[[Lines], str]] = {
    "journalctl": _each(lambda line, n: f"Nov 20 {_second(n)} gpu-1 vllm[4711]: {line}"),
    "journalctl -o short-full": _each(
        lambda line, n: f"Fri 2026-11-20 {_second(n)} CET gpu-1 vllm[4711]: {line}"
    ),
    "journalctl -o with-unit": _each(
        lambda line, n: f"Fri 2026-11-20 {_second(n)} UTC gpu-1 vllm.service[4711]: {line}"
    ),
    "journalctl -o json": _each(_journal),
    "docker logs -t": _each(lambda line, n: f"{_iso(n)} {line}"),
    "json-file": _each(lambda line, n: json.dumps({"log": f"{line}\n", "time": _iso(n)})),
    "compose": _beside_another("vllm-1  | ", "web-1   | "),
    "CRI": _each(lambda line, n: f"{_iso(n)} stderr F {line}"),
    "kubectl": _each(lambda line, n: f"[pod/vllm-7c9d8b6f5-x2x4q/vllm] {_iso(n)} {line}"),
    "stern": _each(lambda line, _: f"{POD}{line}"),
    "stern with times": _each(lambda line, n: f"{POD}{_iso(n)} {line}"),
    "stern, two pods": _beside_another(POD, "web-5f6d7c8b9-abcde nginx "),
    "stern -o json": _each(lambda line, _: json.dumps({"message": line, "podName": "vllm-0"})),
    "srun -l": _each(lambda line, _: f" 0: {line}"),
    "colours": _each(lambda line, _: f"\x1b[0;36m{line[:12]}\x1b[0m{line[12:]}"),
    "a quotation": _each(lambda line, _: f"> {line}"),
    "a fence": lambda lines: _text(["It ends so:", "```text", *lines, "```", "Any idea?"]),
    "HTML": _each(lambda line, _: html.escape(line)),
    "HTML's breaks": lambda lines: _text(["<br>".join(html.escape(line) for line in lines)]),
    "breaks spelled out": lambda lines: _text(["\\n".join(lines)]),
    "an API's error": lambda lines: json.dumps({"error": {"message": _text(lines), "code": 500}}),
    "a list of JSON": lambda lines: json.dumps(lines, indent=1),
    "a table": lambda lines: _text(
        ["| n | line |", "|---|---|", *(f"| {n} | {line} |" for n, line in enumerate(lines))]
    ),
    "a block of YAML": lambda lines: _text(["status:", "  log: |", *(f"    {x}" for x in lines)]),
    "a list of YAML": lambda lines: _text(["lines:", *(f"  - {json.dumps(x)}" for x in lines)]),
    "line numbers": _each(lambda line, n: f"{n + 1:4} {line}"),
    "cat -n": _each(lambda line, n: f"{n + 1:6}\t{line}"),
    "grep -n": _each(lambda line, n: f"vllm.log:{n + 1}:{line}"),
    "Loki's CSV": _newest_first(lambda line, n: f"{_iso(n)},{_quoted(line)}", "Date,Line\n"),
    "Loki's text": _newest_first(lambda line, n: f"{_iso(n)}\t{line}"),
    "Loki's JSON": lambda lines: json.dumps(
        [{"line": line, "timestamp": _iso(n)} for n, line in reversed([*enumerate(lines)])]
    ),
    "CloudWatch's CSV": lambda lines: _text(
        [
            "timestamp,message",
            *(f"{1_763_690_000_000 + n * 143},{_quoted(line)}" for n, line in enumerate(lines)),
        ]
    ),
    "Datadog's CSV": _newest_first(
        lambda line, n: f'"{_iso(n)}","gpu-1","vllm",{_quoted(line)}', "Date,Host,Service,Message\n"
    ),
    "Kibana's CSV": _newest_first(_kibana, '"@timestamp","kubernetes.pod.name",message\n'),
    "records, newest first": _newest_first(
        lambda line, n: json.dumps({"timestamp": _iso(n), "message": line})
    ),
    "Windows": lambda lines: "\r\n".join(lines) + "\r\n",
    "broken at 80": broken(80),
    "broken at 100": broken(100),
    "broken at 120": broken(120),
    "broken at 120, filled": broken(120, blanks=True),
    "a journal broken at 100": broken(100, before=JOURNAL),
}
"""What makes one text of the lines of a log, by its name."""

PARAGRAPHS: dict[str, Callable[[Lines], str]] = {
    "one paragraph": lambda lines: " ".join(line for line in lines if line.strip()),
    "one paragraph, blanks lost": lambda lines: " ".join(" ".join(lines).split()),
}
"""Forms that have lost where lines end."""
