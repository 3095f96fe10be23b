# SPDX-License-Identifier: Apache-2.0
"""`llmagent profiles [NAME]`: the known deployments, or one of them with its plan.

With --recipes DIR these are vLLM's own recipes, of which an operator has a copy.

--format json prints {"profiles": [{"name", "description", "cards", "model"}]}, or for one profile
{"name", "description", "settings", "expect", "recovery", "bands", "alerts", "notes", "plan":
{"verdict", "reason", "available_kv_gib", "max_concurrency"} | null, "contradictions"}. Of recipes
it prints {"recipes": [{"name", "description", "precision", "least_gb", "vllm_version"}], "broken"},
or {"name", "description", "vllm_version", "least_gb", "verified", "service", "settings",
"left_out", "features", "card", "plan"}.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from agent.cli.planning.ground import release_or_mistake
from agent.cli.planning.shown import in_short
from agent.cli.screen.options import add_format
from agent.core.plain import plain, plain_lines
from agent.core.planner.model import Model, model_of
from agent.core.planner.profile_plan import contradictions, plan_of
from agent.core.planner.versions import version_of
from agent.core.settings.profile import Band, Profile
from agent.errors import UsageError
from agent.host.data.profiles import read_profiles
from agent.host.models.known import known_models
from agent.places import OWN_PROFILES, SHIPPED_PROFILES

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "profiles",
        help="list or print the known deployments",
        epilog="Examples: `llmagent profiles`, `llmagent profiles llama-3.1-8b-fp8-rtx4090`, "
        "`llmagent profiles --recipes ~/recipes Qwen/Qwen3.6-27B:fp8 --gpu L40S`.",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="print this one, with its plan")
    parser.add_argument(
        "--recipes",
        metavar="DIR",
        type=Path,
        help="vLLM's own recipes instead: a copy of vllm-project/recipes (git clone), or the "
        "folder recipes of vLLM's sources",
    )
    parser.add_argument(
        "--gpu", metavar="NAME", help="the card that a recipe is for, by name: its own options"
    )
    parser.add_argument("--vllm-version", metavar="VERSION", help="default: the newest known")
    add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print; raises UsageError for a name that no profile has, and for what is no release."""
    release_or_mistake(args.vllm_version)
    if args.recipes is not None:
        return _recipes(args)
    if args.gpu is not None:
        raise UsageError("--gpu is for --recipes: a profile names its own card")
    profiles = read_profiles()
    if args.name is None:
        rows = [_row(profile) for profile in profiles.values()]
        if not rows:
            print(f"no profile lies in {SHIPPED_PROFILES} or {OWN_PROFILES}", file=sys.stderr)
        print(json.dumps({"profiles": rows}, indent=2) if args.format == "json" else _table(rows))
        return 0
    if args.name not in profiles:
        known = ", ".join(profiles) or "none: is the package installed?"
        raise UsageError(f"no profile is called {args.name}; there are: {known}")
    shape = document(profiles[args.name], args.vllm_version)
    print(json.dumps(shape, indent=2) if args.format == "json" else _page(shape))
    return 0


def _recipes(args: argparse.Namespace) -> int:
    # Imported here: who lists profiles needs none of it.
    from agent.cli.planning.recipes import chosen_in, document_of, page_of, rows_of
    from agent.host.data.cards import card_or_mistake
    from agent.host.data.recipes import read_recipes

    recipes = read_recipes(args.recipes)
    if args.name is None:
        rows = rows_of(recipes)
        if args.format == "json":
            print(json.dumps({"recipes": rows, "broken": recipes.broken}, indent=2))
            return 0
        print(plain_lines(_table(rows)))
        for broken in recipes.broken:
            print(plain(f"note: {broken}"), file=sys.stderr)
        return 0
    card = None if args.gpu is None else card_or_mistake(args.gpu)
    chosen = chosen_in(recipes, args.name, card, args.vllm_version)
    as_json = args.format == "json"
    print(json.dumps(document_of(chosen), indent=2) if as_json else plain_lines(page_of(chosen)))
    return 0


def _row(profile: Profile) -> dict[str, object]:
    return {
        "name": profile.name,
        "description": profile.description,
        "cards": list(profile.card.names),
        "model": profile.settings.get("model"),
    }


def document(profile: Profile, vllm_version: str | None) -> dict[str, Any]:
    """Return the profile in its documented shape, planned for a version of vLLM."""
    version = version_of(vllm_version)
    config = known_models().get(str(profile.settings.get("model")))
    model: Model | None = model_of(config) if config is not None else None
    plan = plan_of(profile, model, version) if model is not None else None
    return {
        "name": profile.name,
        "description": profile.description,
        "settings": dict(profile.settings_for(version.release)),
        "expect": dict(profile.expect),
        "recovery": dict(profile.recovery),
        "bands": [asdict(band) for band in profile.bands],
        "alerts": [asdict(alert) for alert in profile.alerts],
        "notes": list(profile.notes),
        "plan": in_short(plan),
        "contradictions": [] if model is None else list(contradictions(profile, model, version)),
    }


def _table(rows: list[dict[str, object]]) -> str:
    width = max((len(str(row["name"])) for row in rows), default=0)
    return "\n".join(f"{row['name']!s:<{width}}  {row['description']}" for row in rows)


def _page(shape: Mapping[str, Any]) -> str:
    tables = {"service": {"vllm": {**shape["settings"]}}}
    for name in ("expect", "recovery"):
        if shape[name]:
            tables["service"]["vllm"][name] = shape[name]
    lines = [f"# {shape['description']}", *(f"# {note}" for note in shape["notes"]), ""]
    lines.append(tomli_w.dumps(tables))
    lines += [f"# expected: {_band_text(band)}" for band in shape["bands"]]
    lines += [f"# alert {alert['name']}: {alert['expr']}" for alert in shape["alerts"]]
    plan = shape["plan"]
    if plan is not None:
        lines.append(f"# plan: {plan['verdict']}: {plan['reason']}")
    lines += [f"# contradicted: {sentence}" for sentence in shape["contradictions"]]
    return "\n".join(lines)


def _band_text(band: Mapping[str, Any]) -> str:
    of = Band(**band)
    at = f" at batch {of.batch}" if of.batch else ""
    after = f" after {of.context_tokens} tokens" if of.context_tokens else ""
    note = f"; {of.note}" if of.note else ""
    return f"{of.quantity} {of.low:g} to {of.high:g}{at}{after} ({of.origin}{note})"
