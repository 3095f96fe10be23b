# SPDX-License-Identifier: Apache-2.0
"""The command line: one module a command."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from types import MappingProxyType, ModuleType

from agent.core.plain import plain_lines
from agent.errors import AgentError, HostLacksError, UsageError
from agent.version import VERSION

COMMANDS = (
    "run",
    "check",
    "render",
    "plan",
    "profiles",
    "doctor",
    "status",
    "why",
    "verify",
    "pause",
    "resume",
    "restart",
    "drain",
    "notify",
    "drill",
    "events",
    "diagnose",
    "bench",
    "init",
    "import",
    "bundle",
)
"""Each is a module of agent.cli, in the order in which `llmagent --help` shows them."""

STEERING = ("pause", "resume", "restart", "drain", "notify", "drill")
_MODULES = MappingProxyType(
    {
        "import": "beginning.take_in",
        "init": "beginning.init",
        **{name: f"steering.{name}" for name in STEERING},
    }
)
"""Where a command's module stands, if not under its own name."""

ELSEWHERE = MappingProxyType(
    {
        "start": "systemctl start {}",
        "stop": "systemctl stop {}",
        "enable": "systemctl start {}",
        "disable": "systemctl stop {}",
        "reload": "systemctl reload llmagent",
        "logs": "journalctl -u {} -e",
        "log": "journalctl -u {} -e",
        "edit": "systemctl edit {}",
        "config": "sudoedit /etc/llmagent/agent.toml",
    }
)
"""What people type, and the command of systemd or the shell that does it."""

OF_ALL = frozenset({"-h", "--help", "-v", "-V", "--version"})
"""The options that stand in place of a command."""

_OPTION = re.compile(r"--[a-z][a-z-]*")

NEXT_STEP = "Next: `llmagent why`, `llmagent events --since yesterday`, `llmagent help`."


OUR_FAULT = "cannot go on, which is a fault of llmagent's"


def modules_of(names: Iterable[str]) -> tuple[ModuleType, ...]:
    """Return the modules of these commands."""
    return tuple(importlib.import_module(f"agent.cli.{_MODULES.get(name, name)}") for name in names)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; every error is one message on stderr."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        return _status_and_next_step()
    if words[0] == "help":
        words = [*words[1:2], "--help"]
    if words[0].startswith("-") and words[0] not in OF_ALL:
        words = ["status", *words]  # what `llmagent` alone shows has these options
    if complaint := _no_command(words[0]):
        _tell(f"llmagent: {complaint}")
        return UsageError.exit_status
    try:
        # Reading the commands can fail, too: a file of the package is missing or damaged.
        return _run(_parsed(words))
    except AgentError as error:
        _tell(f"llmagent {words[0]}: {error}")
        return error.exit_status
    except BrokenPipeError:
        return _reader_went_away()
    except OSError as error:
        _tell(f"llmagent {words[0]}: {error}")
        return HostLacksError.exit_status
    except KeyboardInterrupt:
        return 130
    # The last resort of a screen: what nobody thought of is one sentence, with its place for us.
    except Exception as error:
        if words[0] == "run":
            raise  # systemd's journal keeps it whole
        from agent.core.guard import place_of

        _tell(f"llmagent {words[0]}: {OUR_FAULT} ({place_of(error)}): report it, and what it read")
        return AgentError.exit_status


def _run(args: argparse.Namespace) -> int:
    ended = int(args.run(args))
    if args.command != "run":  # the daemon itself is no screen
        from agent.cli.screen.paused import remind_of_a_pause

        remind_of_a_pause(args)
    return ended


def _tell(message: str) -> None:
    print(plain_lines(message), file=sys.stderr)


def parser_of(
    names: Iterable[str],
) -> tuple[argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]]:
    """Return the parser of `llmagent` with these commands, and its part that holds them."""
    parser = argparse.ArgumentParser(
        prog="llmagent",
        description="Runs vLLM on a GPU server, checks that it runs as configured, and brings it "
        "back when it fails.",
        epilog="exit status: 0 as asked, 1 the answer is no, 2 mistake in agent.toml or the "
        "command line, 3 the daemon is away, 4 the host lacks something. See llmagent(1).",
    )
    parser.add_argument("--version", "-V", "-v", action="version", version=f"llmagent {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in modules_of(names):
        command.add_parser(commands)
    return parser, commands


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    # The daemon runs for months: it is not to hold the code of all other commands (2 MiB).
    named = words[:1] if words[0] in COMMANDS else COMMANDS
    parser, commands = parser_of(named)
    modules = modules_of(named)
    divide = getattr(modules[0], "divide", None) if len(modules) == 1 else None
    divided = divide(words[1:]) if divide is not None else None
    args, unknown = parser.parse_known_args(words if divided is None else [words[0], *divided.own])
    if divided is not None:
        args.words = divided
    if unknown:
        # Told with the usage of this command, not with the list of all.
        own: argparse.ArgumentParser = commands.choices[args.command]
        known = _OPTION.findall(own.format_help())
        own.error(f"unrecognized arguments: {' '.join(unknown)}{_near(unknown[0], known)}")
    return args


def _status_and_next_step() -> int:
    status = main(["status"])
    print(NEXT_STEP if status == 0 else "See `llmagent help`.")
    return status


def _no_command(word: str) -> str:
    """Return what to type in place of a word that is no command; "" for a command or an option."""
    if word in COMMANDS or word.startswith("-"):
        return ""
    if word in ELSEWHERE:
        return f"that is systemd's: `{ELSEWHERE[word].format('vllm')}`"
    if word in _services():
        return f"that is a service: `llmagent status {word}`, `llmagent why {word}`"
    near = _near(word, [*COMMANDS, *ELSEWHERE, "help"])
    return f'there is no command "{word}"{near} (`llmagent help` lists them)'


def _services() -> frozenset[str]:
    from agent.places import CONFIG_FILE  # only for who has mistyped, as below
    from agent.tasks.foreign.names import names_in

    return names_in(CONFIG_FILE)


def _near(word: str, known: Sequence[str]) -> str:
    import difflib  # only for who has made a mistake: the daemon does without its 0.7 MiB

    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _reader_went_away() -> int:
    """End quietly where the output's reader (head, less) ended: Python would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
