# SPDX-License-Identifier: Apache-2.0
"""How right the log reader is, and how quick, beside grep.

Usage: python -m tests.benchmarks.diagnose [LINES] [LOG...]. First class, helpfulness and danger on
the project's own corpus and on texts of held-out releases, beside the first and last hit of
`grep -iE "error|exception"`; then lines a CPU second beside `grep -E` with the same patterns.
Without logs it reads lines of its own: mostly access lines and statistics, as a busy server writes;
then those of an engine that warns, and of a server that prints the traceback of each bad request:
as they are, and as journald, Docker, compose and Kubernetes carry them.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

from agent.cli.diagnose import read
from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.diagnosis.signatures import SignatureSet
from agent.host.data.signatures import load_signatures
from tests.benchmarks.table.figures import keep
from tests.catalogue.corpus import corpus
from tests.catalogue.judging import (
    LABELLED,
    Case,
    frames_alone,
    frames_without_words,
    held_out,
    new_in,
    own_cases,
    score,
    without_release,
)
from tests.catalogue.placing import By, place

LINES = 200_000

HELD_OUT = ("0.20", "0.26", "0.28", "0.30", "0.33")
"""Releases whose own texts are read without any known text."""


def busy_server() -> Iterator[str]:
    """Give the lines of a server under load, for ever."""
    stats = (
        "(APIServer pid=1) INFO 11-21 03:10:00 [loggers.py:127] Engine 000: Avg prompt throughput: "
        "812.2 tokens/s, Avg generation throughput: 640.3 tokens/s, Running: 12 reqs, Waiting: 0 "
        "reqs, GPU KV cache usage: 4.1%, Prefix cache hit rate: 31.0%"
    )
    request = 'INFO:     10.0.0.{}:{} - "POST /v1/chat/completions HTTP/1.1" 200 OK'
    refused = [
        "(APIServer pid=1) ERROR 11-21 03:10:01 [serving.py:2] Error in preprocessing prompt input",
        "(APIServer pid=1) ERROR 11-21 03:10:01 [serving.py:2] Traceback (most recent call last):",
        '(APIServer pid=1) ERROR 11-21 03:10:01 [serving.py:2]   File "serving.py", line 9, in run',
        "(APIServer pid=1) ERROR 11-21 03:10:01 [serving.py:2]     return await self.prepare(text)",
        "(APIServer pid=1) ERROR 11-21 03:10:01 [serving.py:2] ValueError: bad request",
    ]
    for number in cycle(range(60_000)):
        yield request.format(number % 250, number)
        if number % 50 == 0:
            yield stats
        if number % 400 == 0:
            yield from refused


def warning_engine() -> Iterator[str]:
    """Give the lines of an engine that warns of each request, for ever."""
    yield from islice(busy_server(), 50)
    warned = (
        "(EngineCore_DP0 pid=2) WARNING 11-21 03:10:{:02} [scheduler.py:{}] some odd thing "
        "happened with seq {}"
    )
    for number in cycle(range(60_000)):
        yield warned.format(number % 60, number % 900, number)


def refusing_server() -> Iterator[str]:
    """Give the lines of a server that prints the traceback of every 20th request, for ever."""
    frame = (
        '(APIServer pid=1)   File "/usr/lib/python3.12/site-packages/starlette/routing.py", line '
        "{}, in handle"
    )
    answers = busy_server()
    while True:
        yield from islice(answers, 20)
        yield "(APIServer pid=1) ERROR:    Exception in ASGI application"
        yield "(APIServer pid=1) Traceback (most recent call last):"
        for number in range(60, 90):
            yield frame.format(number)
            yield "(APIServer pid=1)     await self.app(scope, receive, send)"
        yield "(APIServer pid=1) ValueError: odd"


def _second(number: int) -> str:
    return f"{number // 180_000 % 24:02}:{number // 3_000 % 60:02}:{number // 50 % 60:02}"


def _nano(number: int) -> str:
    return f"2025-11-21T{_second(number)}.{number * 20_011 % 1_000_000:06}789"


def _record(line: str, number: int) -> str:
    """Return a line as `journalctl -o json` prints it (systemd 252), with its usual fields."""
    fields = {
        "__CURSOR": f"s=5b1f0c;i={number:x};b=7a1be6d4;m={number * 20_011:x};x=90{number:x}",
        "_SYSTEMD_SLICE": "system.slice",
        "_TRANSPORT": "stdout",
        "_CMDLINE": "/opt/vllm/bin/python3 /opt/vllm/bin/vllm serve /srv/m --port 8000",
        "_EXE": "/usr/bin/python3.12",
        "_COMM": "vllm",
        "_UID": "990",
        "_SYSTEMD_CGROUP": "/system.slice/vllm.service",
        "_SYSTEMD_INVOCATION_ID": "b1c2d3e4f5a697887766554433221100",
        "_BOOT_ID": "7a1be6d4c2a14b9c8d7e6f5a4b3c2d1e",
        "__MONOTONIC_TIMESTAMP": str(number * 20_011),
        "__REALTIME_TIMESTAMP": str(1_763_690_000_000_000 + number * 20_011),
        "_PID": "4711",
        "_SYSTEMD_UNIT": "vllm.service",
        "SYSLOG_IDENTIFIER": "vllm",
        "PRIORITY": "6",
        "MESSAGE": line,
    }
    return json.dumps(fields)


def _in_a_file(line: str, number: int) -> str:
    """Return a line as Docker's json-file has it: no noughts stand at the end of the time."""
    time = f"{_nano(number)[:-3].rstrip('0.')}Z"
    return json.dumps({"log": f"{line}\n", "stream": "stderr", "time": time})


CARRIERS: dict[str, Callable[[str, int], str]] = {
    "journal": lambda line, n: f"Nov 21 {_second(n)} gpu-1 vllm[4711]: {line}",
    "journal, JSON": _record,
    "docker's times": lambda line, n: f"{_nano(n)}Z {line}",
    "json-file": _in_a_file,
    "compose": lambda line, _: f"vllm-1  | {line}",
    "CRI": lambda line, n: f"{_nano(n)}+00:00 stderr F {line}",
}
"""How the number-th line of a log looks behind what carries it."""


def for_grep(signatures: SignatureSet) -> str:
    """Return all patterns as one extended regular expression; grep has no lookaround."""
    parts = []
    for signature in signatures.signatures:
        text = _without_lookahead(signature.pattern.pattern)
        text = re.sub(r"\(\?P<\w+>|\(\?:", "(", text)
        text = re.sub(r"(?<!\\)\[((?:[^\]\\]|\\.)*)\]", _bracket, text).replace(r"\d", "[0-9]")
        text = re.sub(r"\{(\d+),\d{2,}\}", _unbounded, text)  # grep unrolls a bounded repeat
        parts.append(re.sub(r"([*+?}])\?", r"\1", text))
    return "\n".join(parts)


def _unbounded(found: re.Match[str]) -> str:
    return "*" if found.group(1) == "0" else "+"


def _without_lookahead(text: str) -> str:
    while (start := text.find("(?!")) >= 0:
        depth, end = 1, start + 3
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0) if text[end - 1] != "\\" else 0
            end += 1
        text = text[:start] + text[end:]
    return text


def _bracket(found: re.Match[str]) -> str:
    inside = found.group(1).replace(r"\w", "[:alnum:]_").replace(r"\s", "[:space:]")
    inside = inside.replace(r"\d", "0-9").replace("\\", "")
    return f"[{inside}]"


def all_literals(signatures: SignatureSet) -> set[str]:
    """Return the words of which every matching line has one."""
    return {literal for signature in signatures.signatures for literal in signature.literals}


def grep_seconds(options: list[str], log: Path) -> tuple[float, int]:
    """Return grep's CPU seconds for a file, and how many lines it matched."""
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["grep", "-c", *options, log], check=False, capture_output=True, text=True
    )
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode > 1:
        raise SystemExit(done.stderr)
    seconds = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    return max(seconds, 0.001), int(done.stdout)


def right_or_wrong(signatures: SignatureSet) -> None:
    """Print how right the reader is, on what it knows and on what it had never seen."""
    _print_score("own corpus", list(own_cases()), signatures)
    for name in LABELLED:
        head, cases = held_out(name)
        print(f"held out, {name}: {head}")
        _print_score("  today", cases, signatures)
        _print_score("  without 0.33's own", cases, without_release(signatures, "0.33"))
        _print_score("  frames alone", cases, frames_alone(signatures))
    for release in HELD_OUT:
        got = score(new_in(release), frames_without_words(signatures))
        print(
            f"held out, {release}: {got.cases} texts new in it, by frames and exceptions alone: "
            f"class right {got.right / got.cases:.1%}, group right {got.group / got.cases:.1%}, "
            f"dangerous {got.dangerous}"
        )
    for name, known in (("all", signatures), ("frames alone", frames_alone(signatures))):
        placed = [place(text, release, known).by for release, text in corpus()]
        share = 1 - placed.count(By.NOTHING) / len(placed)
        print(f"texts of vLLM 0.6.3 to 0.33 placed, {name:<14} {share:8.2%} of {len(placed):,}")


def _print_score(what: str, cases: list[Case], signatures: SignatureSet) -> None:
    got = score(cases, signatures)
    print(
        f"{what:<22} {got.cases:>4} cases: class right {got.right / got.cases:6.1%}, helpful "
        f"{got.helpful / got.cases:6.1%}, dangerous {got.dangerous}; the line that names the cause:"
        f" reader {got.named / got.cases:6.1%}, grep first {got.first / got.cases:6.1%},"
        f" last {got.last / got.cases:6.1%}"
    )


def how_fast(
    what: str, lines: Iterator[str], count: int, signatures: SignatureSet, folder: Path
) -> dict[str, float]:
    """Print how fast the reader and grep read so many lines; returns both a CPU second."""
    log = folder / "vllm.log"
    with log.open("w") as out:
        out.writelines(f"{line}\n" for line in islice(lines, count))
    reader = ServicesReader(signatures)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    with log.open("rb") as stream:
        read(stream, reader, str(log))
    diagnosis = reader.diagnosis()
    ours = time.process_time() - begin
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{what}, lines {count:,}: {diagnosis.outcome} {diagnosis.failure or ''}")
    print(f"log reader, lines/CPU s     {count / ours:>12,.0f}   grew {grown / 1024:.1f} MiB")
    found = {"lines": count / ours}
    for name, options in (
        ("-E, its own patterns", ["-E", "-f", str(folder / "patterns")]),
        ("-F, their literals", ["-F", "-f", str(folder / "literals")]),
        ("-iE error|exception", ["-iE", "error|exception"]),
    ):
        theirs, matched = grep_seconds(options, log)
        print(
            f"grep {name:<20}   {count / theirs:>12,.0f}   {matched} lines matched; the reader "
            f"is {theirs / ours:.2f} times as fast"
        )
        found.setdefault("grep_lines", count / theirs)  # of its own patterns, which come first
    return found


def main(argv: list[str]) -> int:
    """Run all and print the figures."""
    count = int(argv[0]) if argv else LINES
    signatures = load_signatures()
    right_or_wrong(signatures)
    sources = [Path(name).read_text(errors="replace").split("\n") for name in argv[1:]]
    given = cycle(line for source in sources for line in source)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "patterns").write_text(for_grep(signatures))
        (folder / "literals").write_text("\n".join(sorted(all_literals(signatures))))
        if sources:
            how_fast("the logs", given, count, signatures, folder)
            return 0
        keep("diagnose", how_fast("a busy server", busy_server(), count, signatures, folder))
        how_fast("an engine that warns", warning_engine(), count, signatures, folder)
        how_fast("tracebacks of requests", refusing_server(), count, signatures, folder)
        for name, carry in CARRIERS.items():
            for what, lines in (
                ("a busy server", busy_server()),
                ("an engine that warns", warning_engine()),
                ("tracebacks of requests", refusing_server()),
            ):
                carried = (carry(line, number) for number, line in enumerate(lines))
                how_fast(f"{what} ({name})", carried, count, signatures, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
