# SPDX-License-Identifier: Apache-2.0
"""Text that strangers wrote, made plain: nothing in it moves a cursor, ends a line or turns text.

What is not printable by Python's own word is replaced: control characters (ESC, BEL, CR, NUL, C1),
lone surrogates, and marks that turn the direction of writing (U+202E and its like).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST_NAME = 300
"""Names that vLLM gives (models, versions, formats) and its words for an error are not longer."""


def plain(text: str, most: int | None = None) -> str:
    """Return the text in one printable line, of its first `most` characters where that is given."""
    if most is not None:
        text = text[:most]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def plain_lines(text: str) -> str:
    """Return a text of several lines, each of them plain."""
    return "\n".join(plain(line) for line in text.split("\n"))


def plain_name(text: str) -> str:
    """Return a stranger's name for something: plain, and not longer than names are."""
    return plain(text, LONGEST_NAME)


def plain_values(document: Any) -> Any:
    """Return a JSON document with every text in it plain, keys as well."""
    if isinstance(document, str):
        return plain(document)
    if isinstance(document, Mapping):
        return {plain(key): plain_values(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [plain_values(value) for value in document]
    return document
