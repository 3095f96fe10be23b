# SPDX-License-Identifier: Apache-2.0
"""Finds and reads the recipes of vLLM's own collection, where an operator has them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from itertools import islice
from pathlib import Path
from typing import Any

from agent.core.record import dataclass
from agent.core.settings.recipe import Recipe, recipe_of
from agent.errors import UsageError
from agent.host.files.foreign import read_regular
from agent.host.files.yaml_text import OF_YAMLS_READERS, check_nesting

MOST_BYTES = 256 * 1024
MOST_FILES = 4096
"""The collection has 263 files of at most 40 KB (October 2026)."""

MERGE, MOST_ALIASES = "<<", 64
"""An alias shares what it names, and costs nothing until it is merged; recipes have 16 at most."""


@dataclass(slots=True)
class Recipes:
    """Recipes by their model's name; `broken` are files that look like one, with what is wrong."""

    by_model: dict[str, Recipe] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def read_recipes(directory: Path) -> Recipes:
    """Return all recipes below a directory; raises UsageError where it has none."""
    found = Recipes()
    try:
        files = sorted(islice(_files(directory), MOST_FILES))
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror or error}") from error
    for file in files:
        try:
            document = _document(file)
            if document is not None:
                recipe = recipe_of(document)
                found.by_model[recipe.model] = recipe
        except OSError as error:
            found.broken.append(f"{file}: {error.strerror or error}")
        except ValueError as error:
            found.broken.append(f"{file}: {error}")
    if not found.by_model:
        why = f": {found.broken[0]}" if found.broken else ""
        raise UsageError(
            f"{directory} holds no recipes of vLLM{why}; it is to be a copy of vllm-project/recipes"
            " (git clone), or the folder recipes of vLLM's sources (0.33 or later)"
        )
    return found


def _files(directory: Path) -> Iterator[Path]:
    if not directory.is_dir():
        raise UsageError(f"{directory} is no directory")
    own = directory / "models"
    return (own if own.is_dir() else directory).rglob("*.yaml")


def _document(file: Path) -> Mapping[str, Any] | None:
    """Return what stands in a file, None where it is not about a model.

    Raises ValueError for what is no YAML, OSError for no file or more than a recipe can be.
    """
    import yaml  # only for who reads recipes: it takes 2 MiB

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = read_regular(Path(os.path.realpath(file)), MOST_BYTES)
    check_nesting(text)
    try:
        aliases = merges = 0
        for token in yaml.scan(text, loader):
            aliases += isinstance(token, yaml.AliasToken)
            merges += isinstance(token, yaml.TagToken)  # `!!merge x: *name` merges too
            merges += isinstance(token, yaml.ScalarToken) and token.value == MERGE
        is_bomb = aliases > MOST_ALIASES or bool(aliases and merges)
        content = None if is_bomb else yaml.load(text, loader)  # noqa: S506 - both are safe ones
    except (yaml.YAMLError, RecursionError, *OF_YAMLS_READERS) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"is not YAML: {reason}") from error
    if is_bomb:
        raise ValueError("uses too many aliases (*name): merged, they make gigabytes")
    return content if isinstance(content, dict) and "model" in content else None
