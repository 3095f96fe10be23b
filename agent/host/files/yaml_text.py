# SPDX-License-Identifier: Apache-2.0
"""YAML that somebody else wrote, to lists and tables that end; whatever it is, one kind of error.

An alias may refer to what it stands in, or stand for gigabytes; and what PyYAML (5.4..6.0) makes of
times, numbers and the like raises whatever it comes to where a text is none.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

MOST_PARTS = 100_000
"""Values of all documents, each counted wherever an alias stands for it."""
DEEPEST = 60
MOST_OPEN = 400
"""Brackets, those in quoted texts counted too."""
LONGEST_REASON = 200
_BRACKET = re.compile(r"[\[\]{}]")
OF_YAMLS_READERS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What PyYAML's readers of times, numbers and the like end in for a text that is none."""


def yaml_documents(text: str | bytes, kept: tuple[str, ...] = ()) -> list[Any]:
    """Return the documents; raises ValueError with a sentence's end: why it cannot be read.

    `kept` are tags of an application's own: `!tag value` becomes {"!tag": value}.
    """
    import yaml  # only where such a file is used: it takes 2 MiB

    check_nesting(text)
    try:
        documents = list(yaml.load_all(text, _loader(kept)))
        _count(documents, 0, 0)
    except yaml.YAMLError as error:
        raise ValueError(_short(error)) from error
    except OF_YAMLS_READERS as error:
        raise ValueError(f"a value is none of its kind ({_short(error)})") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep, or refers to itself") from error
    return documents


def yaml_document(text: str | bytes) -> Any:
    """Return the only document, None of an empty text; raises as `yaml_documents` does."""
    documents = yaml_documents(text)
    if len(documents) > 1:
        raise ValueError("it holds several documents, with --- between them")
    return documents[0] if documents else None


def check_nesting(text: str | bytes) -> None:
    """Raise ValueError where brackets are nested so deep that PyYAML takes minutes for them."""
    depth = 0
    for found in _BRACKET.finditer(text if isinstance(text, str) else text.decode("latin-1")):
        depth = depth + 1 if found[0] in "[{" else max(0, depth - 1)
        if depth > MOST_OPEN:
            raise ValueError("it is nested too deep")


@cache
def _loader(kept: tuple[str, ...]) -> Any:
    """Return PyYAML's safe loader, with a bound for what merge keys (`<<: [*a, *a]`) add up to."""
    import yaml

    class Bounded(yaml.SafeLoader):
        def flatten_mapping(self, node: Any) -> None:
            super().flatten_mapping(node)
            if len(node.value) > MOST_PARTS:
                raise ValueError(f"what is merged has more than {MOST_PARTS} keys")

        def keep(self, node: Any) -> Any:
            resolve: Any = self.resolve  # the stubs of PyYAML leave it untyped
            tag = resolve(node.__class__, node.value, (True, False))
            plain = node.__class__(tag, node.value)
            return {node.tag: self.construct_object(plain, deep=True)}

    for tag in kept:
        Bounded.add_constructor(tag, Bounded.keep)
    return Bounded


def _count(value: Any, parts: int, depth: int) -> int:
    if parts > MOST_PARTS:
        raise ValueError(f"it has more than {MOST_PARTS} values")
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, dict):
        for key, item in value.items():
            parts = _count(item, _count(key, parts, depth + 1), depth + 1)
    elif isinstance(value, list | set | tuple):
        for item in value:
            parts = _count(item, parts, depth + 1)
    return parts + 1


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
