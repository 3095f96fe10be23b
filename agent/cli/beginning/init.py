# SPDX-License-Identifier: Apache-2.0
"""`llmagent init`: looks at the host and proposes a first service, planned and checked.

--format json prints {"found": {"gpus", "driver", "engines", "images", "models", "running",
"free_gib"}, "service": {NAME: table}, "plan": {"verdict", "reason"}, "mistakes", "findings",
"written"}. Exit status 0, or 1 when what it proposes is not fit to run; 2 where an option is needed
that nobody could be asked for; 4 where the host has no GPU or no vLLM.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.beginning.choices import Choice, choose_engine, choose_model
from agent.cli.beginning.seen import as_json, seen_lines
from agent.cli.screen.consent import agreed
from agent.cli.screen.options import add_config, add_format
from agent.core.beginning.proposal import OnDisk, Proposal, Unfit
from agent.core.foreign.table import Imported
from agent.core.plain import plain, plain_lines
from agent.core.planner.question import Fit
from agent.errors import UsageError
from agent.tasks.beginning.look import HostLook, free_port, look_at_host
from agent.tasks.foreign.accepted import plain_of
from agent.tasks.foreign.addition import Addition, addition, write
from agent.tasks.foreign.names import names_in, ports_in

if TYPE_CHECKING:
    from argparse import _SubParsersAction

OWN_HUB = "/var/lib/vllm/huggingface/hub"
EXAMPLES = """\
examples:
  llmagent init --dry-run                        what it would write, and why
  sudo llmagent init                             looks, asks what it cannot know, writes
  sudo llmagent init --yes --model org/model     for scripts: nothing is asked
  sudo llmagent init --make-venv /opt/vllm       with an environment for vLLM
"""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "init",
        help="look at this host and propose a first service",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", metavar="MODEL", help="a hub id or a directory")
    parser.add_argument("--python", metavar="PATH", help="the Python of the environment with vLLM")
    parser.add_argument("--image", metavar="IMAGE", help="an image of vLLM instead")
    parser.add_argument("--port", metavar="N", type=int, help="default: the first free from 8000")
    parser.add_argument("--name", metavar="NAME", default="vllm", help="of table and unit")
    parser.add_argument(
        "--make-venv",
        metavar="DIR",
        nargs="?",
        const=Path("/opt/vllm"),
        type=Path,
        help="make an environment with the vLLM for this driver and card; default: /opt/vllm",
    )
    parser.add_argument("--dry-run", action="store_true", help="write and make nothing")
    parser.add_argument("--yes", action="store_true", help="agree beforehand; for scripts")
    add_config(parser)
    add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look, propose, and write where that is agreed to."""
    if args.name in names_in(args.config):
        raise UsageError(
            f"{args.config} has [service.{args.name}] already: edit it, or add one with --name"
        )
    look = look_at_host()
    if args.format != "json":
        _tell(seen_lines(look))
    engine = choose_engine(args, look)
    proposal = choose_model(args, look, engine)
    table = _table(args, look, engine, proposal)
    added = addition([table], args.config)
    if args.format != "json":
        print(plain_lines(added.text), end="", flush=True)
        _tell(_why(proposal, added))
    unfit = isinstance(proposal, Unfit) and proposal.is_known
    is_well = added.is_well and not unfit
    written = not args.dry_run and _write(args, table.name, added, is_well=is_well)
    if args.format == "json":
        print(json.dumps(_document(look, table, proposal, added, written=written), indent=2))
    return 0 if is_well else 1


def _table(
    args: argparse.Namespace, look: HostLook, engine: Choice, proposal: Proposal | Unfit
) -> Imported:
    keys: dict[str, Any] = {"model": args.model}
    cards = look.cards
    if isinstance(proposal, Proposal):
        keys["model"] = proposal.model.name
        if proposal.max_model_len is not None:
            keys["max_model_len"] = proposal.max_model_len
        if proposal.tensor_parallel_size > 1:
            keys["tensor_parallel_size"] = proposal.tensor_parallel_size
        cards = cards[: proposal.tensor_parallel_size]
    if len(cards) < len(look.gpus.gpus):
        keys["gpus"] = [card.index for card in cards]
    keys["port"] = args.port or free_port(ports_in(args.config))
    return Imported(args.name, {**keys, **engine.keys})


def _fetched_anew(model: OnDisk) -> str:
    """Return how a model of another user's cache gets to where the service looks for it."""
    if model.name.startswith("/") or model.place.startswith(OWN_HUB):
        return ""
    cached = model.place.partition("/snapshots/")[0]
    return (
        f"its files lie in {cached}; so that they are not fetched anew: install -d -o vllm "
        f"{OWN_HUB}; cp -a {cached} {OWN_HUB}/; chown -R vllm: {OWN_HUB}"
    )


def _verdict(proposal: Proposal | Unfit) -> tuple[str, str]:
    if isinstance(proposal, Proposal):
        return proposal.plan.verdict.value, proposal.plan.reason
    return (Fit.DOES_NOT_FIT if proposal.is_known else Fit.NOT_KNOWN).value, proposal.why


def _why(proposal: Proposal | Unfit, added: Addition) -> list[str]:
    lines = [f"plan: {': '.join(_verdict(proposal))}"]
    if isinstance(proposal, Proposal) and (advice := _fetched_anew(proposal.model)):
        lines.append(advice)
    lines += [f"mistake: {mistake}" for mistake in added.mistakes]
    lines += [str(finding) for finding in added.findings]
    if added.is_well:
        lines.append(f"llmagent check: ok together with {added.file}")
    return lines


def _write(args: argparse.Namespace, name: str, added: Addition, *, is_well: bool) -> bool:
    if not is_well:
        _tell(["nothing is written: what is named above comes first"])
        return False
    if not args.yes and not agreed(f"Add [service.{name}] to {added.file}?"):
        _tell(["nothing is written"])
        return False
    write(added)
    _tell([f"written. Next: `systemctl reload llmagent` starts {name}.service; then"])
    _tell(["`llmagent status --watch` shows how far it is"])
    return True


def _tell(lines: list[str]) -> None:
    for line in lines:
        print(plain(line), file=sys.stderr, flush=True)


def _document(
    look: HostLook, table: Imported, proposal: Proposal | Unfit, added: Addition, *, written: bool
) -> dict[str, Any]:
    verdict, reason = _verdict(proposal)
    return {
        "found": as_json(look),
        "service": {table.name: plain_of(table.table)},
        "plan": {"verdict": verdict, "reason": reason},
        "mistakes": list(added.mistakes),
        "findings": [
            {"path": f.path, "severity": f.severity, "text": f.text} for f in added.findings
        ],
        "written": written,
    }
