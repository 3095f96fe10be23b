# SPDX-License-Identifier: Apache-2.0
"""A recipe of vLLM's own collection: how a model is started, by checkpoint and by card.

The collection is vllm-project/recipes (schema 1 of 2026: models/OWNER/NAME.yaml), which the sources
of vLLM 0.33 hold as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from agent.core.record import dataclass

DEFAULT = "default"
ONE_HOST = "single_node_tp"
"""The strategy that is followed: one host, each matrix split over its GPUs."""

_GENERATIONS = {8: "ampere", 9: "hopper", 10: "blackwell", 12: "blackwell"}
_ADA = (8, 9)


class NoRecipeError(ValueError):
    """It is no recipe; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One checkpoint of a model; `least_gb` is the memory of all cards that its recipe asks for."""

    name: str
    model: str
    precision: str
    least_gb: float
    gpus: int | None
    description: str
    since: str
    args: tuple[str, ...]
    environment: Mapping[str, str]
    by_card: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]]
    only_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model with its variants; `features` are options to choose, by name."""

    model: str
    title: str
    description: str
    verified: tuple[str, ...]
    variants: Mapping[str, Variant]
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """What stands behind `vllm serve`, with its environment."""

    words: tuple[str, ...]
    environment: Mapping[str, str]


def recipe_of(document: Mapping[str, Any]) -> Recipe:
    """Read a recipe; raises NoRecipeError where the document is none."""
    meta, model = _table(document, "meta"), _table(document, "model")
    name = model.get("model_id")
    variants = {
        str(key): how
        for key, how in _table(document, "variants").items()
        if isinstance(how, Mapping)
    }
    if not isinstance(name, str) or not name or not variants:
        raise NoRecipeError("has no model.model_id or no variants")
    optional = _words(document.get("opt_in_features"))
    features = {
        str(key): _words(how.get("args"))
        for key, how in _table(document, "features").items()
        if isinstance(how, Mapping)
    }
    always = [word for key, args in features.items() if key not in optional for word in args]
    hardware = _table(meta, "hardware")
    return Recipe(
        model=name,
        title=_text(meta, "title") or name,
        description=_text(meta, "description"),
        verified=tuple(str(key) for key, state in hardware.items() if state == "verified"),
        variants={
            key: _variant(key, how, document, tuple(always)) for key, how in variants.items()
        },
        features={key: args for key, args in features.items() if key in optional},
    )


def _variant(
    name: str, how: Mapping[str, Any], document: Mapping[str, Any], always: tuple[str, ...]
) -> Variant:
    model = _table(document, "model")
    strategy = _table(_table(document, "strategy_overrides"), ONE_HOST)
    gpus = next((n for n in (how.get("tp"), strategy.get("tp")) if isinstance(n, int)), None)
    memory = how.get("vram_minimum_gb")
    by_card: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {}
    for source in (_table(document, "hardware_overrides"), _table(how, "hardware_overrides")):
        for card, own in source.items():
            if isinstance(own, Mapping):
                args, environment = by_card.get(str(card), ((), {}))
                more = {**environment, **_environment(own.get("extra_env"))}
                by_card[str(card)] = ((*args, *_words(own.get("extra_args"))), more)
    extra = (*_words(strategy.get("extra_args")), *_words(how.get("extra_args")))
    return Variant(
        name=name,
        model=_text(how, "model_id") or _text(model, "model_id"),
        precision=_text(how, "precision"),
        least_gb=float(memory) if isinstance(memory, int | float) else 0.0,
        gpus=gpus,
        description=_text(how, "description"),
        since=_text(how, "min_vllm_version") or _text(model, "min_vllm_version"),
        args=(*_words(model.get("base_args")), *always, *extra),
        environment={
            **_environment(model.get("base_env")),
            **_environment(strategy.get("extra_env")),
            **_environment(how.get("extra_env")),
        },
        by_card=by_card,
        only_on=_words(how.get("supported_hardware")),
    )


def line_for(
    variant: Variant, card: str, capability: tuple[int, int] | None, gpus: int | None = None
) -> Line:
    """Return the command line for a card of this name, "" for none in particular.

    `gpus` is how many there are to be where the recipe itself does not say.
    """
    words, environment = [variant.model, *variant.args], dict(variant.environment)
    for key, (args, more) in variant.by_card.items():
        if card and is_for(key, card, capability):
            words += args
            environment |= more
    count = variant.gpus or gpus or 1
    if count > 1 and not any(word.split("=")[0] in _SPLITS for word in words):
        words += ["--tensor-parallel-size", str(count)]
    return Line(tuple(words), environment)


_SPLITS = ("--tensor-parallel-size", "-tp", "--data-parallel-size", "-dp")


def is_for(key: str, card: str, capability: tuple[int, int] | None) -> bool:
    """Tell whether a key ("rtx_5090", "h100", "dgx_spark_gb10", "hopper") is this card's."""
    if capability is not None and key == _generation(capability):
        return True
    words = _words_of(key) - _MAKES
    return bool(words) and words <= _words_of(card)


_MAKES = frozenset({"nvidia", "geforce", "tesla", "quadro", "rtx", "dgx", "spark", "station"})


def _words_of(name: str) -> frozenset[str]:
    return frozenset(re.split(r"[^a-z0-9]+", name.lower())) - {""}


def _generation(capability: tuple[int, int]) -> str:
    return "ada" if capability == _ADA else _GENERATIONS.get(capability[0], "")


def runs_here(variant: Variant, card: str, capability: tuple[int, int] | None) -> bool:
    """Tell whether a variant is not for other cards alone."""
    own = variant.only_on
    return not own or not card or any(is_for(key, card, capability) for key in own)


def chosen_variant(recipe: Recipe, name: str) -> Variant | None:
    """Return the variant of this name, the recipe's default one for ""."""
    if name:
        return recipe.variants.get(name)
    return recipe.variants.get(DEFAULT) or next(iter(recipe.variants.values()), None)


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _words(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else []
    return tuple(str(word) for word in listed if isinstance(word, str | int | float))


def _environment(value: object) -> Mapping[str, str]:
    table = value if isinstance(value, Mapping) else {}
    return {str(key): str(word) for key, word in table.items() if isinstance(word, str | int)}
