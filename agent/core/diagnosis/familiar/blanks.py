# SPDX-License-Identifier: Apache-2.0
"""Whether a line says nothing that any signature knows, whatever numbers stand in it.

The shape of a line is the line with 0 for each of its digits. A pattern that names no digit cannot
tell lines of one shape apart: it is tried on the shape. Of one that does ("Error 802") each digit
is made any digit first, so that it matches the shape if it matches a line of it.
"""

from __future__ import annotations

import re

from agent.core.diagnosis.signatures import Signature, SignatureSet
from agent.core.patterns import compile_pattern

_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(
    r"(?P<kept>\\[^1-9]|\{\d{0,6},?\d{0,6}\}|\(\?P<\w{1,60}>)"
    r"|(?P<of>\[\^?\]?(?:\\.|[^\]\\]){0,120}\])"
    r"|(?P<barred>\(\?<?!)|(?P<same>\\[1-9]|\(\?P=|\(\?\()|(?P<opens>\()|(?P<closes>\))|(?P<digit>\d)"
)
"""The parts of a pattern that tell where a digit stands: an escape, how often something repeats, a
class of characters, what must not follow, what must be as before, and groups."""

_ESCAPE_OR_ALL = re.compile(r"\\.|0-9")


def shape_of(text: str) -> str:
    """Return a text, or the lines of one, with 0 for each digit."""
    # Bytes are translated ten times as fast as text; no other character of UTF-8 has a digit in it.
    return text.encode("utf-8", "surrogatepass").translate(_DIGITS).decode("utf-8", "surrogatepass")


def of_any_digit(pattern: str) -> str | None:
    """Return a pattern that matches the shape of each line that this one matches.

    What must not follow is left out, so that it matches more. None where something must be as it
    was before, or must be none of some digits.
    """
    parts: list[str] = []
    at = barred = 0
    for token in _TOKEN.finditer(pattern):
        parts.append("" if barred else pattern[at : token.start()])
        at, text = token.end(), token.group()
        if barred:
            barred += bool(token["opens"] or token["barred"]) - bool(token["closes"])
            barred += text.startswith("(?P<")
            continue
        if token["barred"]:
            barred = 1
            continue
        digits = token["of"] and any(c.isdecimal() for c in _ESCAPE_OR_ALL.sub("", text))
        if token["same"] or (digits and text.startswith("[^")):
            return None
        parts.append(r"\d" if token["digit"] else f"{text[:-1]}0]" if digits else text)
    return "".join((*parts, pattern[at:]))


class Blanks:
    """What the signatures say of a shape."""

    def __init__(self, signatures: SignatureSet) -> None:
        self._index = signatures.index
        words = list(signatures.index)
        self._of: dict[str, list[str]] = {}
        for shape, word in zip(shape_of("\n".join(words)).split("\n"), words, strict=True):
            self._of.setdefault(shape, []).append(word)
        self._shapes = frozenset(self._of)
        self._patterns: dict[str, re.Pattern[str] | None] = {}

    def say_nothing(self, shape: str) -> bool:
        """Tell whether no signature knows any line of the shape."""
        return not any(
            shape_of(literal) in shape and self._may_match(signature, shape)
            for found in self._shapes.intersection(_WORD.findall(shape))
            for word in self._of[found]
            for literal, signature in self._index[word]
        )

    def _may_match(self, signature: Signature, shape: str) -> bool:
        if signature.id not in self._patterns:
            general = of_any_digit(signature.pattern.pattern)
            made = None if general is None else compile_pattern(general)
            self._patterns[signature.id] = made
        pattern = self._patterns[signature.id]
        return pattern is None or pattern.search(shape) is not None
