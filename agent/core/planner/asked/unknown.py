# SPDX-License-Identifier: Apache-2.0
"""Options after which the plan is not known, or may be off by more."""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.command.given import Given
from agent.core.command.options import KINDS
from agent.core.command.picture import Picture
from agent.core.planner.asked.ask import Beside
from agent.core.planner.asked.effects import (
    GRAPHS_ERROR_GIB,
    GRAPHS_ONLY,
    KV_SIZED,
    MOVES_A_LITTLE,
    NOT_RECKONED,
    OF_THE_INDEXER,
    ONLY_WITH,
    POOLED,
    VARIABLES,
    Trait,
)
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model
from agent.core.planner.overheads import Term

_INDEXED_IN_FP8 = "fp8"

_UNASKED = (None, False, 0, "", "auto", "generate", "none", "None")
"""Values that ask for nothing."""


def not_reckoned(picture: Picture, model: Model) -> tuple[str, ...]:
    """Return a sentence for each option whose memory is not reckoned with."""
    traits = _traits(model)
    found = [*_options(picture, traits), *_values(picture, traits), *_variables(picture)]
    if picture.config_file is not None and not picture.file_was_read:
        found.append(f"--config {picture.config_file}: the file was not read")
    return tuple(dict.fromkeys(found))


def _options(picture: Picture, traits: frozenset[Trait]) -> Iterator[str]:
    for given in picture.options.values():
        name = given.name
        if name not in KINDS:
            yield f"{given.spelled}: no known vLLM has it"
        elif not _asks(given):
            continue
        elif name in NOT_RECKONED:
            yield f"{given.spelled} {NOT_RECKONED[name]}, which is not reckoned with"
        elif name in ONLY_WITH and ONLY_WITH[name][0] in traits:
            trait, what = ONLY_WITH[name]
            yield f"{given.spelled} {what}, which is not reckoned with for {trait}"


def _asks(given: Given) -> bool:
    if given.name.endswith("_parallel_size") and given.value == 1:
        return False
    return given.value not in _UNASKED


def _values(picture: Picture, traits: frozenset[Trait]) -> Iterator[str]:
    cache = (picture.text("kv_cache_dtype") or "auto").lower()
    if cache not in KV_SIZED:
        yield f"kv_cache_dtype {cache}: its bytes a token are not reckoned with"
    if picture.real("kv_offloading_size") and Trait.WINDOWS in traits:
        yield f"--kv-offloading-size is not reckoned with for {Trait.WINDOWS}"
    for name, words in POOLED.items():
        word = (picture.text(name) or "").lower()
        if word not in (*_UNASKED, *words):
            yield f"--{name} {word} makes another kind of model of it, which is not reckoned with"
    attention = picture.table("attention_config")
    for name, what in OF_THE_INDEXER.items():
        if Trait.INDEXER in traits and attention.get(name) not in (*_UNASKED, _INDEXED_IN_FP8):
            yield f"--attention-config: {name} {what}, which is not reckoned with"
    overrides = picture.options.get("hf_overrides")
    if overrides is not None and isinstance(overrides.value, str):
        yield f"{overrides.spelled} {overrides.value}: a function or a file is not read"
    other = set(picture.table("compilation_config")) - GRAPHS_ONLY
    if other:
        yield f"--compilation-config: {', '.join(sorted(other))} is not reckoned with"
    compilation = picture.options.get("compilation_config")
    if compilation is not None and isinstance(compilation.value, str):
        yield "--compilation-config: a file or a name is not read"


def _variables(picture: Picture) -> Iterator[str]:
    for name, (usual, what) in VARIABLES.items():
        if picture.environment.get(name, "").strip() not in ("", usual):
            yield f"{name} {what}, which is not reckoned with"


def small_moves(picture: Picture) -> Iterator[Beside]:
    """Yield a term of nothing, give or take, for each option that moves work spaces."""
    for name, gib in MOVES_A_LITTLE.items():
        given = picture.options.get(name)
        if given is not None and _asks(given):
            yield Beside(name, Term(0.0, gib, f"{given.spelled} moves work spaces"))
    if picture.table("compilation_config"):
        why = "--compilation-config moves graphs and work spaces"
        yield Beside("compilation_config", Term(0.0, GRAPHS_ERROR_GIB, why))


def _traits(model: Model) -> frozenset[Trait]:
    kinds = {layer.keeps for layer in model.layers} - {Keeps.NOTHING}
    found = set()
    if Keeps.STATE in kinds:
        found.add(Trait.STATES)
    if len(kinds) > 1:
        found.add(Trait.WINDOWS)
    if model.experts is not None:
        found.add(Trait.EXPERTS)
    if model.encodes:
        found.add(Trait.IMAGES)
    if any(layer.index_bytes for layer in model.layers):
        found.add(Trait.INDEXER)
    return frozenset(found)
