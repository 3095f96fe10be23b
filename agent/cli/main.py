# SPDX-License-Identifier: Apache-2.0
"""The command line: one module a command."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType

from agent.errors import AgentError, HostLacksError
from agent.version import VERSION

COMMANDS = (
    "run",
    "check",
    "render",
    "plan",
    "profiles",
    "doctor",
    "status",
    "verify",
    "events",
    "diagnose",
    "bench",
)
"""Each is a module of agent.cli, in the order in which `llmagent --help` shows them."""


def modules_of(names: Iterable[str]) -> tuple[ModuleType, ...]:
    """Return the modules of these commands."""
    return tuple(importlib.import_module(f"agent.cli.{name}") for name in names)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; every error is one message on stderr."""
    parser = argparse.ArgumentParser(
        prog="llmagent",
        description="Keeps vLLM serving, as configured and proven, on a GPU server.",
        epilog="exit status: 0 as asked, 1 the answer is no, 2 mistake in agent.toml or the "
        "command line, 3 the daemon is away, 4 the host lacks something. See llmagent(1).",
    )
    parser.add_argument("--version", action="version", version=f"llmagent {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    words = sys.argv[1:] if argv is None else list(argv)
    # The daemon runs for months: it is not to hold the code of all other commands (2 MiB).
    named = words[:1] if words[:1] and words[0] in COMMANDS else COMMANDS
    try:
        modules = modules_of(named)
    except AgentError as error:  # a file of the package is missing or damaged
        print(f"llmagent: {error}", file=sys.stderr)
        return error.exit_status
    for command in modules:
        command.add_parser(commands)
    args = parser.parse_args(words)
    try:
        return int(args.run(args))
    except AgentError as error:
        print(f"llmagent {args.command}: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        return _reader_went_away()
    except OSError as error:
        print(f"llmagent {args.command}: {error}", file=sys.stderr)
        return HostLacksError.exit_status
    except KeyboardInterrupt:
        return 130


def _reader_went_away() -> int:
    """End quietly where the output's reader (head, less) ended: Python would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
