# SPDX-License-Identifier: Apache-2.0
"""vLLM's own recipes as tables for agent.toml, planned on a card."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import tomli_w

from agent.cli.planning.shown import in_short
from agent.cli.planning.tables import COUNTS
from agent.core.command.picture import picture_of_line
from agent.core.foreign.found import Found, Left
from agent.core.foreign.table import table_of
from agent.core.gpu.catalogue import CardFacts
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, Plan, PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.planner.versions import version_of
from agent.core.record import dataclass
from agent.core.settings.recipe import (
    Line,
    Recipe,
    Variant,
    chosen_variant,
    line_for,
    runs_here,
)
from agent.errors import UsageError
from agent.host.data.recipes import Recipes
from agent.host.models.known import known_config

PROGRAM = "/usr/bin/vllm"
"""Any path will do: it is left out of the table."""

OTHER_MAKES = ("rocm", "mi300x", "ascend", "tpu", "xpu", "gaudi", "xeon", "cpu", "trillium")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A variant of a recipe on a card (None: on none in particular), and its plan."""

    recipe: Recipe
    variant: Variant
    line: Line
    card: CardFacts | None
    plan: Plan | None


def rows_of(recipes: Recipes) -> list[dict[str, object]]:
    """Return a row for each variant that is not for other makes alone."""
    return [
        {
            "name": _name(recipe, variant),
            "description": variant.description or recipe.description,
            "precision": variant.precision,
            "least_gb": variant.least_gb,
            "vllm_version": variant.since,
        }
        for recipe in recipes.by_model.values()
        for variant in recipe.variants.values()
        if not variant.only_on or not all(key.startswith(OTHER_MAKES) for key in variant.only_on)
    ]


def _name(recipe: Recipe, variant: Variant) -> str:
    usual = chosen_variant(recipe, "") is variant
    return recipe.model if usual else f"{recipe.model}:{variant.name}"


def chosen_in(
    recipes: Recipes, name: str, card: CardFacts | None, vllm_version: str | None
) -> Chosen:
    """Return what a name chooses: MODEL, MODEL:VARIANT or a variant's own checkpoint.

    Raises UsageError for a name that no recipe has, and for a variant that is for other cards.
    """
    recipe, variant = _found(recipes, name)
    capability = None if card is None else card.compute_capability
    called = "" if card is None else card.name
    if not runs_here(variant, called, capability):
        only = ", ".join(variant.only_on)
        raise UsageError(f"{name} is for {only}, not for {called}")
    if card is None:
        return Chosen(recipe, variant, line_for(variant, "", None), None, None)
    for count in (variant.gpus,) if variant.gpus else COUNTS:
        line = line_for(variant, called, capability, count)
        plan = _plan(line, card, vllm_version)
        if plan is None or plan.verdict is not Fit.DOES_NOT_FIT:
            break
    return Chosen(recipe, variant, line, card, plan)


def _found(recipes: Recipes, name: str) -> tuple[Recipe, Variant]:
    model, _, wanted = name.partition(":")
    for recipe in recipes.by_model.values():
        if model.lower() in (recipe.model.lower(), recipe.model.rpartition("/")[2].lower()):
            variant = chosen_variant(recipe, wanted)
            if variant is None:
                there = ", ".join(recipe.variants)
                raise UsageError(f"{recipe.model} has no variant {wanted}; there are: {there}")
            return recipe, variant
    for recipe in recipes.by_model.values():
        for variant in recipe.variants.values():
            if variant.model.lower() == name.lower():
                return recipe, variant
    import difflib  # only for who has made a mistake

    near = difflib.get_close_matches(name, list(recipes.by_model), n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"no recipe is for {name}{hint}")


def _plan(line: Line, card: CardFacts, vllm_version: str | None) -> Plan | None:
    """Return the plan, None where the model is not known by its name."""
    config = known_config(line.words[0])
    if config is None:
        return None
    model = model_of(config)
    request = PlanRequest(card.usable_gib, version_of(vllm_version), gpu_name=card.name)
    ground = Ground(request, card.compute_capability)
    try:
        return make_plan(model, request_of(picture_of_line(line.words), model, ground))
    except UnknownQuantizationError:
        return None


def _table_in(chosen: Chosen) -> tuple[str, Mapping[str, Any], tuple[Left, ...]]:
    """Return the service's name and table, and what of the recipe has no place in it."""
    line = chosen.line
    found = Found(line.words[0], line.words, line.environment, program=PROGRAM)
    whole = table_of(found)
    # Where it listens and which vLLM runs it is the host's matter: a recipe says neither.
    asked = picture_of_line(line.words)
    own = {key for key in ("host", "port") if not asked.asks(key)} | {"python"}
    table = {key: value for key, value in whole.table.items() if key not in own}
    return whole.name, table, tuple(whole.left)


def document_of(chosen: Chosen) -> dict[str, Any]:
    """Return the documented shape of `profiles NAME --recipes DIR --format json`."""
    name, table, left = _table_in(chosen)
    return {
        "name": _name(chosen.recipe, chosen.variant),
        "description": chosen.variant.description or chosen.recipe.description,
        "vllm_version": chosen.variant.since,
        "least_gb": chosen.variant.least_gb,
        "verified": list(chosen.recipe.verified),
        "service": name,
        "settings": dict(table),
        "left_out": [{"what": one.what, "why": one.why} for one in left],
        "features": {key: list(args) for key, args in chosen.recipe.features.items()},
        "card": None if chosen.card is None else chosen.card.name,
        "plan": in_short(chosen.plan),
    }


def page_of(chosen: Chosen) -> str:
    """Return the text for a person."""
    shape = document_of(chosen)
    table = tomli_w.dumps({"service": {shape["service"]: shape["settings"]}})
    lines = [f"# {chosen.recipe.title}: {shape['description']}"]
    since = shape["vllm_version"]
    lines.append(f"# vLLM's own recipe, for {f'vLLM {since} or later' if since else 'any vLLM'}")
    if shape["verified"]:
        lines.append(f"# verified by its authors on {', '.join(shape['verified'])}")
    lines += ["", table.rstrip(), ""]
    lines += [f"# left out: {one['what']}: {one['why']}" for one in shape["left_out"]]
    lines += [f"# may be added: {key}: {shlex.join(args)}" for key, args in _features(chosen)]
    return "\n".join([*lines, _planned(chosen)])


def _features(chosen: Chosen) -> list[tuple[str, tuple[str, ...]]]:
    return [(key, args) for key, args in chosen.recipe.features.items() if args]


def _planned(chosen: Chosen) -> str:
    if chosen.card is None:
        return "# plan: with --gpu NAME; what the recipe has for that card is taken then, too"
    if chosen.plan is None:
        return f"# plan: {chosen.variant.model} is not known by its name; plan its folder"
    return f"# plan on {chosen.card.name}: {chosen.plan.verdict}: {chosen.plan.reason}"
