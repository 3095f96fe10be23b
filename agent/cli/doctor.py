# SPDX-License-Identifier: Apache-2.0
"""`llmagent doctor`: what will fail now or at the next restart, with the evidence and the fix.

--format json prints {"ok": bool, "findings": [{"check", "result": "ok" | "warning" | "fail" |
"unknown" | "skipped", "service", "evidence", "fix"}]}. Exit status 0, or 1 when something fails.
It reads only, and needs root for what only root can read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli import status
from agent.cli.screen.options import add_config, add_format
from agent.cli.screen.terminal import coloured
from agent.core.doctor.engine import ONLY_ROOT
from agent.core.doctor.finding import Finding, Result, fail, unknown
from agent.core.plain import plain
from agent.core.settings.config import Config
from agent.errors import ConfigError, DaemonAwayError
from agent.places import STATUS_FILE
from agent.tasks.config_in_force import config_in_force
from agent.tasks.examine import Patient, examine
from agent.tasks.look_at_gpus import look_once

if TYPE_CHECKING:
    from argparse import _SubParsersAction

NVML_SECONDS = 2.5
AS_ROOT = "Run it as root."
ORDER = (Result.FAIL, Result.WARNING, Result.UNKNOWN, Result.OK, Result.SKIPPED)
MARKS = {
    Result.FAIL: "FAIL",
    Result.WARNING: "warn",
    Result.UNKNOWN: "?",
    Result.OK: "ok",
    Result.SKIPPED: "-",
}


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what will fail, now or tonight",
        epilog="Examples: `sudo llmagent doctor`, `llmagent doctor --offline --all`.",
    )
    add_config(parser)
    parser.add_argument("--offline", action="store_true", help="do not ask the hub")
    parser.add_argument("--all", action="store_true", help="show what is skipped, too")
    add_format(parser)
    parser.add_argument("--file", type=Path, default=STATUS_FILE, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine and print; a broken agent.toml is a finding, and the one in force is examined."""
    config = Config(services={})
    mistakes: tuple[Finding, ...] = ()
    try:
        config, error = config_in_force(args.config)
        if error is not None:
            mistakes = (_broken(error),)
    except ConfigError as error:
        mistakes = (_broken(error),)
    gpus = look_once(NVML_SECONDS)
    findings = mistakes + examine(
        Patient(config, gpus, hub=not args.offline, lost_gpus=_lost(args.file))
    )
    if args.format == "json":
        print(json_of(findings))
    else:
        print(human(findings, colour=coloured(), everything=args.all))
    return 0 if is_well(findings) else 1


def _lost(file: Path) -> tuple[str, ...]:
    """Return the cards that the daemon knows and cannot reach; none where there is no daemon."""
    try:
        cards = status.read(file).get("gpus", ())
    except DaemonAwayError:
        return ()
    return tuple(f"GPU {gpu['index']} ({gpu['name']})" for gpu in cards if gpu["lost"])


def _broken(error: ConfigError) -> Finding:
    told = f"{error.file}: {'; '.join(error.mistakes[:4])}"
    if ONLY_ROOT in told:
        return unknown("configuration", told, AS_ROOT)
    return fail("configuration", told, "Correct it: `llmagent check` names each mistake.")


def is_well(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing fails."""
    return all(finding.result is not Result.FAIL for finding in findings)


def json_of(findings: Sequence[Finding]) -> str:
    """Return the documented JSON."""
    rows = [asdict(finding) for finding in findings]
    return json.dumps({"ok": is_well(findings), "findings": rows}, indent=2)


def human(findings: Sequence[Finding], *, colour: bool, everything: bool) -> str:
    """Return the findings for a person: what fails first, each with its fix below."""
    lines = []
    shown = [f for f in findings if everything or f.result is not Result.SKIPPED]
    for finding in sorted(shown, key=lambda f: ORDER.index(f.result)):
        mark = f"{MARKS[finding.result]:<5}"
        if colour and finding.result in (Result.FAIL, Result.WARNING):
            mark = f"\033[{31 if finding.result is Result.FAIL else 33}m{mark}\033[0m"
        name = f"{finding.check} ({finding.service})" if finding.service else finding.check
        lines.append(f"{mark}{plain(f'{name}: {finding.evidence}')}")
        if finding.fix:
            lines.append(f"     -> {plain(finding.fix)}")
    counts = {result: sum(f.result is result for f in findings) for result in Result}
    told = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
    return "\n".join([*lines, told])
