# SPDX-License-Identifier: Apache-2.0
"""`llmagent import`: an engine that runs already, or its command line, as a [service] table.

--format json prints {"from": kind, "services": {NAME: table}, "left_out": [{"what", "why"}],
"files": [path], "mistakes": [sentence], "findings": [{"path", "severity", "text"}], "written":
bool, "taken_over": bool}. Exit status 0, or 1 when what came of it is not fit to run or did not
come up; 2 for what cannot be read as an engine; 4 where only root may look.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.cli.beginning.replace import replace_engine
from agent.cli.planning.words import Divided
from agent.cli.screen.consent import agreed
from agent.cli.screen.options import add_config, add_format
from agent.core.foreign.table import Imported
from agent.core.plain import plain, plain_lines
from agent.core.secrets import without_secrets
from agent.errors import UsageError
from agent.tasks.foreign.accepted import accept, plain_of
from agent.tasks.foreign.addition import Addition, addition, write
from agent.tasks.foreign.names import name_for, names_in, say_where_models_lie
from agent.tasks.foreign.source import Kind, Source, imported, source_of

if TYPE_CHECKING:
    from argparse import _SubParsersAction

EXAMPLES = """\
examples:
  llmagent import old-vllm.service          a unit, with its drop-ins and EnvironmentFile=
  llmagent import compose.yml               every vLLM service of a compose file
  llmagent import my-container              a container of docker or podman
  llmagent import 4711                      a process that runs (as root)
  llmagent import run-vllm.sh               a script that starts vLLM
  llmagent import -- vllm serve MODEL -tp 2 a command line, docker run too
  sudo llmagent import old-vllm.service --write
  sudo llmagent import old-vllm.service --take-over --at 03:00
"""


def divide(words: Sequence[str]) -> Divided:
    """Divide the words behind `import` into its own and the command line behind "--"."""
    if "--" not in words:
        return Divided(tuple(words))
    at = list(words).index("--")
    return Divided(tuple(words[:at]), line=tuple(words[at + 1 :]))


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "import",
        help="turn a unit, compose file, container, process or command line into a table",
        usage="llmagent import [UNIT | FILE | CONTAINER | PID | -- vllm serve MODEL ...] [options]",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", metavar="WHAT", nargs="?", help="a unit, a file, a container, or a PID"
    )
    parser.add_argument("--name", metavar="NAME", help="of the table and of the unit NAME.service")
    parser.add_argument("--write", action="store_true", help="add it to agent.toml, after asking")
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="stop the old one, start the service, and go back if it does not come up",
    )
    parser.add_argument("--at", metavar="HH:MM", help="when to take over; default: in 10 seconds")
    parser.add_argument("--yes", action="store_true", help="agree beforehand; for scripts")
    add_config(parser)
    add_format(parser)
    parser.set_defaults(run=run, words=Divided(()))


def run(args: argparse.Namespace) -> int:
    """Read, print, and write where that is asked for and agreed to."""
    line = args.words.line
    if args.what is not None and line is not None:
        raise UsageError(f"{args.what} and a command line behind -- are two things to import")
    if args.at is not None and not args.take_over:
        raise UsageError("--at is for --take-over")
    source = source_of(args.what, line)
    taken = _taken(source, args)
    added = addition(taken, args.config)
    if args.format != "json":
        print(plain_lines(added.text), end="", flush=True)
        _tell(taken, added)
    taken_over = args.take_over and _take_over(args, source, taken, added)
    written = taken_over or (args.write and not args.take_over and _write(args, taken, added))
    if args.format == "json":
        shown = _document(source, taken, added)
        print(json.dumps({**shown, "written": written, "taken_over": taken_over}, indent=2))
    elif written and not taken_over:
        _next(source, taken)
    return 0 if added.is_well else 1


def _taken(source: Source, args: argparse.Namespace) -> list[Imported]:
    if args.name is not None and len(source.engines) > 1:
        raise UsageError(f"--name is for one engine; there are {len(source.engines)}")
    there = names_in(args.config)
    taken: list[Imported] = []
    for found in source.engines:
        name = args.name or name_for(found, [one.name for one in taken])
        if name in there:
            raise UsageError(f"{args.config} has [service.{name}] already: choose --name OTHER")
        one = imported(found, name)
        accept(one)
        say_where_models_lie(one, found)
        taken.append(one)
    return taken


def _take_over(
    args: argparse.Namespace, source: Source, taken: list[Imported], added: Addition
) -> bool:
    if not added.is_well:
        print("nothing is taken over: what is named above comes first", file=sys.stderr)
        return False
    return replace_engine(source, taken, added, at=args.at, yes=args.yes)


def _write(args: argparse.Namespace, taken: list[Imported], added: Addition) -> bool:
    if not added.is_well:
        print("nothing is written: what is named above comes first", file=sys.stderr)
        return False
    names = ", ".join(f"[service.{one.name}]" for one in taken)
    files = "".join(f" and {path} (mode 0600)" for path in added.secrets)
    if not args.yes and not agreed(f"Add {names} to {added.file}{files}?"):
        print("nothing is written", file=sys.stderr)
        return False
    write(added)
    return True


def _tell(taken: list[Imported], added: Addition) -> None:
    lines = []
    left = [one for table in taken for one in table.left]
    if left:
        lines.append("not carried over:")
        lines += [plain(f"  {without_secrets(one.what)}: {one.why}") for one in left]
    for path in added.secrets:
        lines.append(f"secret: its value goes to {path} (mode 0600) and is not shown")
    lines += [plain(f"mistake: {mistake}") for mistake in added.mistakes]
    lines += [plain(str(finding)) for finding in added.findings]
    if added.is_well:
        lines.append(f"llmagent check: ok together with {added.file}")
    print("\n".join(lines), file=sys.stderr)


def _next(source: Source, taken: list[Imported]) -> None:
    units = ", ".join(f"{one.name}.service" for one in taken)
    first = {
        Kind.UNIT: f"end the old one (systemctl disable --now {source.name}), then ",
        Kind.PROCESS: f"end process {source.name}, then ",
        Kind.CONTAINER: "end the old container, and its restart policy, then ",
        Kind.LINE: "",
    }[source.kind]
    print(f"written. Next: {first}`systemctl reload llmagent` starts {units}.", file=sys.stderr)


def _document(source: Source, taken: list[Imported], added: Addition) -> dict[str, object]:
    return {
        "from": source.kind,
        "services": {one.name: plain_of(one.table) for one in taken},
        "left_out": [
            {"what": without_secrets(one.what), "why": one.why} for t in taken for one in t.left
        ],
        "files": list(added.secrets),
        "mistakes": list(added.mistakes),
        "findings": [
            {"path": f.path, "severity": f.severity, "text": f.text} for f in added.findings
        ],
    }
