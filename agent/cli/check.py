# SPDX-License-Identifier: Apache-2.0
"""`llmagent check`: every mistake in agent.toml, and what of it this host cannot do.

--format json prints {"file", "ok", "services": [name], "mistakes": [sentence],
"findings": [{"path", "severity": "error" | "warning", "text"}], "on_reload": [sentence],
"restarts": [unit]}, the units that have to be restarted for it: services by the reload itself,
llmagent.service by whoever asks. Exit status 0, or 2 when there is a mistake or an error; warnings
alone do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.screen.options import add_format
from agent.config.agent_toml import load
from agent.core.engine.install import EngineInstall
from agent.core.plain import plain, plain_lines
from agent.core.record import dataclass
from agent.core.settings.config import Config
from agent.daemon.refusal import hand_over
from agent.errors import ConfigError, UsageError
from agent.host.systemd.waiting import RELOADING, tell_who_waits
from agent.host.vllm.help import cache_directory, known_flags, read_help
from agent.places import CONFIG_FILE
from agent.tasks.check_config import HelpReader, Obstacle, Severity, check_config
from agent.tasks.config_in_force import OnReload, changes_on_reload
from agent.tasks.look_at_gpus import look_once

if TYPE_CHECKING:
    from argparse import _SubParsersAction

NVML_SECONDS = 2.5
NOTHING_CHANGES = OnReload()
FOREIGN = frozenset({".yml", ".yaml", ".service", ".sh"})
"""How files end that `llmagent import` makes a table of."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found in one file; `config` is empty when the file holds mistakes.

    `on_reload` is what would change against the configuration in force.
    """

    file: Path
    config: Config
    mistakes: tuple[str, ...] = ()
    findings: tuple[Obstacle, ...] = ()
    on_reload: OnReload = NOTHING_CHANGES

    @property
    def ok(self) -> bool:
        """Tell whether llmagent can run with it."""
        errors = [item for item in self.findings if item.severity is Severity.ERROR]
        return not self.mistakes and not errors


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "check",
        help="validate agent.toml: all mistakes at once",
        epilog="Examples: `llmagent check`, `llmagent check /tmp/agent.toml --no-engine`.",
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, default=CONFIG_FILE, help="another agent.toml"
    )
    parser.add_argument(
        "--no-engine",
        action="store_true",
        help="do not ask the installed vLLM for its flags (the first time takes up to 30 s)",
    )
    add_format(parser)
    parser.add_argument("--reload", type=int, metavar="PID", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the file and print what was found; raises UsageError for what is another's file."""
    if args.file.suffix in FOREIGN:
        raise UsageError(f"{args.file} is no agent.toml: `llmagent import {args.file}` reads it")
    report = _check(args.file, None if args.no_engine else _ask_engine)
    print(_json(report) if args.format == "json" else _human(report))
    if args.reload is not None:
        _have_it_reloaded(args.reload, report)
    return 0 if report.ok else ConfigError.exit_status


def _have_it_reloaded(agent: int, report: CheckReport) -> None:
    """Have the running agent take the file, or only the mistakes where there are some.

    llmagent.service's ExecReload= calls it so: what is refused here has stopped nothing. Who typed
    `systemctl reload` reads the mistakes, or what the reload is about to change.
    """
    if report.on_reload or not report.ok:
        tell_who_waits("llmagent.service", RELOADING, plain_lines(_human(report)))
    errors = [item for item in report.findings if item.severity is Severity.ERROR]
    mistakes = [*report.mistakes, *(f"{item.path}: {item.text}" for item in errors)]
    hand_over(mistakes)
    os.kill(agent, signal.SIGHUP)


def _check(file: Path, run_engine_help: HelpReader | None) -> CheckReport:
    try:
        config = load(file)
    except ConfigError as error:
        return CheckReport(file, Config(), mistakes=error.mistakes)
    named = any(policy.settings.gpus != ("all",) for policy in config.services.values())
    gpus = look_once(NVML_SECONDS) if named else None
    findings = check_config(config, run_engine_help=run_engine_help, gpus=gpus)
    return CheckReport(file, config, findings=findings, on_reload=changes_on_reload(config))


def _ask_engine(install: EngineInstall, user: str) -> str:
    cache = cache_directory()
    if known_flags(install, cache) is None:
        print(f"asking {install.python} for its flags ...", file=sys.stderr)
    return read_help(install, user, cache)


def _json(report: CheckReport) -> str:
    shown = {
        "file": str(report.file),
        "ok": report.ok,
        "services": list(report.config.services),
        "mistakes": list(report.mistakes),
        "findings": [
            {"path": item.path, "severity": item.severity, "text": item.text}
            for item in report.findings
        ],
        "on_reload": list(report.on_reload.changes),
        "restarts": list(report.on_reload.restarts),
    }
    return json.dumps(shown, indent=2)


def _human(report: CheckReport) -> str:
    lines = [f"{report.file}: {mistake}" for mistake in report.mistakes]
    lines += [f"{report.file}: {finding}" for finding in report.findings]
    if report.ok:
        lines += [f"on reload: {plain(change)}" for change in report.on_reload.changes]
        lines.append(f"{report.file}: ok, {_services(report.config)}")
    return "\n".join(lines)


def _services(config: Config) -> str:
    if not config.services:
        return "but no service is configured, so nothing would run"
    return ", ".join(
        f"{policy.settings.unit} on {policy.settings.host}:{policy.settings.port}"
        for policy in config.services.values()
    )
