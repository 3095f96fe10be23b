# SPDX-License-Identifier: Apache-2.0
"""python -m agent.tasks.ahead: runs apart from the agent, for seconds.

take [--root DIRECTORY]... [--model DIRECTORY]... PID...
prints the list of what a start has read on stdout, how many files and bytes on stderr
read [--wanted FILE] LISTS REPORT
reads what is listed in each file of the directory LISTS ahead, or of the service that FILE
names, and writes what came of it as a line of JSON a service into REPORT; SIGTERM ends it
early, and that is written too
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from agent.host.machine.figures import read_memory
from agent.tasks.ahead.listed import read_list, write_list
from agent.tasks.ahead.reading import read_ahead
from agent.tasks.ahead.take import what_a_start_reads


def main(argv: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m agent.tasks.ahead")
    commands = parser.add_subparsers(required=True)
    take = commands.add_parser("take")
    take.add_argument("--root", action="append", default=[])
    take.add_argument("--model", action="append", default=[])
    take.add_argument("pid", nargs="*", type=int)
    take.set_defaults(run=_take)
    read = commands.add_parser("read")
    read.add_argument("--wanted", type=Path)
    read.add_argument("lists", type=Path)
    read.add_argument("report", type=Path)
    read.set_defaults(run=_read)
    options = parser.parse_args(argv)
    try:
        options.run(options)
    except OSError as error:  # a full disk, a place that is not there
        print(f"{parser.prog}: {error}", file=sys.stderr)
        # What could not be written is not tried once more at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _take(options: argparse.Namespace) -> None:
    found = what_a_start_reads(options.pid, options.root, options.model)
    files, size = write_list(found, sys.stdout)
    sys.stdout.flush()
    print(json.dumps({"files": files, "size_bytes": size}), file=sys.stderr)


def _read(options: argparse.Namespace) -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    wanted = _wanted(options.wanted)
    with options.report.open("w") as report:
        for file in sorted(options.lists.iterdir()):
            if file.suffix or wanted not in ("", file.name):  # with a suffix it is being written
                continue
            with file.open(errors="surrogateescape") as stream:
                came = read_ahead(read_list(stream), _available, ended)
            line = json.dumps({"service": file.name, **asdict(came)})
            print(line, file=report, flush=True)


def _wanted(file: Path | None) -> str:
    """Return the name of the one service that is wanted, "" for all."""
    try:
        return file.read_text().strip() if file is not None else ""
    except OSError:
        return ""


def _available() -> tuple[int, int]:
    sizes = read_memory()
    return sizes["MemAvailable"], sizes["MemTotal"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
