# SPDX-License-Identifier: Apache-2.0
"""`llmagent verify`: asked against got, from the live service, with the evidence for each item.

--format json prints {"services": {NAME: {"unit", "url", "answered": bool, "verified": bool,
"pending": [setting], "checks": [{"item", "asked", "got", "verdict": "proven" | "contradicted" |
"unknown", "evidence", "note"}]}}}. Exit status 0 when every service answers and every item is
proven, else 1 (unknown is no pass, nor is a host that serves nothing); 3 when the daemon is away.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agent.cli import status
from agent.cli.screen.options import add_config, add_format
from agent.cli.screen.terminal import coloured, cut
from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.reader import LogReader
from agent.core.engine.command_line import FLAGS
from agent.core.failures.classes import EnginePhase
from agent.core.plain import plain
from agent.core.record import dataclass
from agent.core.settings.service import TUNABLES, Expectations, ServicePolicy
from agent.core.unit.environment import environment_of
from agent.core.verify.check import Check, Verdict
from agent.core.verify.items import verify
from agent.core.verify.model_shape import sees, shape_of
from agent.errors import UsageError
from agent.host.data.signatures import load_signatures
from agent.host.journal.follower import Follower
from agent.host.journal.unit import UnitLines, run_of
from agent.host.models.config import read_model_config
from agent.host.vllm.config_file import options_file_or_none
from agent.host.vllm.reach import address_of, client_of
from agent.places import STATUS_FILE
from agent.tasks import ask_vllm as verification
from agent.tasks.config_in_force import config_in_force

COLOUR = {Verdict.PROVEN: 32, Verdict.CONTRADICTED: 31, Verdict.UNKNOWN: 33}
BATCH = 5000
WIDEST = 160


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The verification of one service; `pending` are settings that the next start brings."""

    service: str
    unit: str
    url: str
    answered: bool
    checks: tuple[Check, ...]
    pending: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether the service answers and everything that was asked is proven."""
        return self.answered and all(check.verdict is Verdict.PROVEN for check in self.checks)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify",
        help="asked against got, with evidence for each item",
        epilog="Examples: `llmagent verify`, `llmagent verify vllm --format json`.",
    )
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="only this service")
    add_config(parser)
    add_format(parser)
    parser.add_argument("--file", type=Path, default=STATUS_FILE, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask the live services and print what they prove."""
    config, mistakes = config_in_force(args.config)
    if mistakes is not None:
        print(f"{mistakes}\nThe last good one is in force and verified.", file=sys.stderr)
    services = config.services
    if args.service is not None and args.service not in services:
        known = ", ".join(services) or "none"
        raise UsageError(f'there is no service "{args.service}"; configured: {known}')
    views = status.read(args.file)["services"]
    names = [args.service] if args.service is not None else list(services)
    elsewhere = {name: why for name in names if (why := services[name].settings.asked_elsewhere)}
    if elsewhere and len(elsewhere) == len(names):
        raise UsageError("; ".join(elsewhere.values()))
    names = [name for name in names if name not in elsewhere]
    reports = [_report(services[name], views.get(name, {})) for name in names]
    if args.format == "json":
        print(as_json(reports))
    else:
        colour = coloured()
        told = [as_text(report, colour=colour) for report in reports]
        print("\n\n".join(told) or "not verified: no service is configured")
    return 0 if reports and all(report.verified for report in reports) else 1


def _report(policy: ServicePolicy, view: dict[str, Any]) -> VerifyReport:
    policy = _in_force(policy, view)
    settings = policy.settings
    learned = {
        name: override["running"]
        for name, override in view.get("overrides", {}).items()
        if name in TUNABLES
    }
    running = settings.with_overrides(learned)
    url = view.get("url") or address_of(running)
    log = _log_facts(settings.unit, view.get("invocation_id", ""))
    config = read_model_config(
        settings.model, settings.revision, environment_of(settings)["HF_HOME"]
    )
    answers = verification.collect(client_of(running, url), running, sees=sees(config))
    checks = verify(
        settings,
        policy.expect,
        log,
        answers,
        running=running,
        shape=None if config is None else shape_of(config),
        options_file=options_file_or_none(settings),
    )
    pending = tuple(view.get("pending_restart", ()))
    return VerifyReport(settings.name, settings.unit, url, answers.answered, checks, pending)


def _in_force(policy: ServicePolicy, view: dict[str, Any]) -> ServicePolicy:
    """Return what is asked of the service now: the last known good settings while they run."""
    if not view.get("rolled_back"):
        return policy
    running = view["running"]
    shown = {name: running.get(name) for name in FLAGS if name not in ("host", "port")}
    shown["shutdown_timeout"] = running.get("shutdown_timeout", policy.settings.shutdown_timeout)
    expect = Expectations(on_mismatch=policy.expect.on_mismatch)
    return replace(policy, settings=replace(policy.settings, **shown), expect=expect)


def _log_facts(unit: str, invocation_id: str) -> Facts:
    """Read the run's journal up to where it serves: what comes later tells no more of its start."""
    reader = LogReader(load_signatures())
    if not invocation_id:
        return reader.facts
    follower = Follower(UnitLines(unit), None)
    try:
        known = follower.from_first(run_of(unit, invocation_id))
        while known and reader.phase is not EnginePhase.SERVING:
            entries = follower.drain(BATCH)
            for entry in entries:
                if entry.invocation_id == invocation_id and not entry.from_manager:
                    reader.feed(entry.message)
            known = not follower.at_end
    finally:
        follower.close()
    return reader.facts


def as_json(reports: Sequence[VerifyReport]) -> str:
    """Return the reports as one JSON document."""
    return json.dumps(
        {
            "services": {
                report.service: {
                    "unit": report.unit,
                    "url": report.url,
                    "answered": report.answered,
                    "verified": report.verified,
                    "pending": list(report.pending),
                    "checks": [asdict(check) for check in report.checks],
                }
                for report in reports
            }
        },
        indent=2,
    )


def as_text(report: VerifyReport, *, colour: bool) -> str:
    """Return one report for a person: the table, then the verdict in one line."""
    lines = [plain(f"{report.unit} at {report.url}")]
    lines.append(render_table(report.checks, colour=colour))
    lines += [f"{plain(name)}: in force at the next start" for name in report.pending]
    lines.append(_summary(report))
    return "\n".join(lines)


def _summary(report: VerifyReport) -> str:
    if not report.answered:
        return "not verified: the model answers no request"
    count = {
        verdict: sum(check.verdict is verdict for check in report.checks) for verdict in Verdict
    }
    numbers = ", ".join(f"{number} {verdict}" for verdict, number in count.items())
    return f"{'verified' if report.verified else 'not verified'}: {numbers}"


def render_table(checks: Sequence[Check], *, colour: bool) -> str:
    """Return verdict, item, asked and got in columns, below each the evidence and the note."""
    rows = [(c.verdict.value, plain(c.item), plain(c.asked), plain(c.got)) for c in checks]
    head = ("VERDICT", "ITEM", "ASKED", "GOT")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(3)]
    lines = [_row(head, widths)]
    for check, row in zip(checks, rows, strict=True):
        text = _row(row, widths)
        if colour:
            painted = f"\x1b[{COLOUR[check.verdict]}m{row[0]}\x1b[0m"
            text = painted + text[len(row[0]) :]
        lines.append(text)
        indent = " " * (widths[0] + 2)
        if check.evidence:
            lines.append(f"{indent}| {plain(cut(' '.join(check.evidence.split()), WIDEST))}")
        if check.note:
            lines.append(f"{indent}{plain(check.note)}")
    return "\n".join(lines)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    *padded, last = cells
    return "  ".join([*(f"{cell:<{w}}" for cell, w in zip(padded, widths, strict=True)), last])
