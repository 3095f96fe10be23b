# SPDX-License-Identifier: Apache-2.0
"""`llmagent bundle`: one archive for a bug report, without secrets and without clients' prompts.

--format json prints {"file", "bytes", "parts": [{"name", "what", "bytes", "problem"}]}. Exit status
0; 4 when the archive cannot be written. The file is readable by its owner alone; nothing is sent.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.events import parse_since
from agent.cli.screen.options import add_config, add_format
from agent.core.settings.config import Config
from agent.errors import ConfigError, HostLacksError
from agent.tasks.bundle import FOLDER, Part, parts_of, write
from agent.tasks.config_in_force import config_in_force

if TYPE_CHECKING:
    from argparse import _SubParsersAction

ABOUT = """\
A bug report of llmagent, made {at}.

Left out are tokens, keys, passwords and signatures by their place, name and form, the queries of
URLs, variables that neither vLLM nor its libraries know, comments of agent.toml, and in the
journals of the engines what clients wrote. [secret] and [...] stand in their places. Names of
models, paths, addresses and serial numbers are in it, and so is a password that is an ordinary word
and that nothing names: look through it before you send it.

"""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "bundle",
        help="one archive for a bug report, without secrets",
        epilog="A password that is an ordinary word and that nothing names cannot be told: look "
        "through it before you send it. "
        "Examples: `sudo llmagent bundle`, `sudo llmagent bundle --since 22:00`.",
    )
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="default: a new .tar.gz in this directory"
    )
    parser.add_argument(
        "--since", metavar="TIME", default="24h", help="logs and history from then on (24h)"
    )
    add_config(parser)
    add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Collect, write, and say what is in it; raises HostLacksError where it cannot be written."""
    now = time.time()
    if os.geteuid() != 0:
        print("bundle: run it as root for the journals and the history", file=sys.stderr)
    path = args.output or Path(time.strftime(f"{FOLDER}-%Y%m%d-%H%M%S.tar.gz"))
    if path.exists():
        raise HostLacksError(f"{path} is there already; name another with --output")
    parts = list(parts_of(args.config, _config(args.config), parse_since(args.since, now), _told))
    about = ABOUT.format(at=time.strftime("%Y-%m-%d %H:%M %z")) + _listed(parts)
    size = write(path, [Part("README.txt", "what is in it", about), *parts])
    if args.format == "json":
        rows = [
            {"name": p.name, "what": p.what, "bytes": len(p.text.encode()), "problem": p.problem}
            for p in parts
        ]
        print(json.dumps({"file": str(path), "bytes": size, "parts": rows}, indent=2))
    else:
        print(_listed(parts))
        print(f"{path}: {_bytes(size)}, for your eyes only: look through it before you send it")
    return 0


def _config(file: Path) -> Config:
    try:
        return config_in_force(file)[0]
    except ConfigError:
        return Config(services={})


def _told(words: list[str]) -> str:
    """Run a command of ours; what it says on stderr is a part of what it says."""
    from agent.cli.main import main  # it loads this module by name

    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        main(words)
    return out.getvalue() or error.getvalue()


def _listed(parts: Sequence[Part]) -> str:
    width = max(len(part.name) for part in parts)
    return "\n".join(
        f"{part.name:<{width}}  {_bytes(len(part.text.encode())):>9}  {part.what}"
        f"{f' ({part.problem})' if part.problem else ''}"
        for part in parts
    )


def _bytes(count: int) -> str:
    return f"{count} B" if count < 1024 else f"{count / 1024:.1f} KiB"
