# SPDX-License-Identifier: Apache-2.0
"""No line that a stranger can have logged takes a pattern more than an instant.

Python's `re` backtracks and holds the interpreter meanwhile: with a cubic pattern one request of
16 KB stopped the agent for good. So each pattern is judged twice: by its form, which finds what
nobody thought of, and by its time beside a yardstick, on lines made of its own parts.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from importlib import import_module, resources
from pkgutil import walk_packages

import pytest

import agent.core.diagnosis
from agent.core.diagnosis.placement.places import MAX_WORDS
from agent.core.diagnosis.placement.rules import PlaceRule
from agent.core.diagnosis.signatures import Signature
from agent.core.diagnosis.writing.writers import Writers
from agent.core.patterns import compile_pattern
from tests.given.engine_logs import SIGNATURES
from tests.given.hostile.pattern_cost import LINE, STEPS_OF_20_MS, steps_of
from tests.given.hostile.pattern_parts import TooManyWaysError
from tests.given.yardstick import yardsticks

MOST = 10
"""Yardsticks that a line may take, of which the worst on record takes 3: each is about 20 ms of
matching on an idle machine."""

HOW = (
    "each place where it may begin, times each way in which a repeat may end, is tried. Write "
    "words where you can; begin with a word or `^`; give each repeat the bound of a real line "
    "(`.{0,80}`); begin a `\\w+` with `\\b`; let no two repeats of the same characters stand side "
    "by side"
)

XIDS = tomllib.loads((resources.files("agent.xids") / "lines.toml").read_text())["line"]

PATTERNS = {
    **{s.id: s.pattern for s in SIGNATURES.signatures},
    **{f"{s.id}.{name}": field for s in SIGNATURES.signatures for name, field in s.fields},
    **{f"xid-line-{n}": compile_pattern(line["pattern"]) for n, line in enumerate(XIDS)},
}

WORDED = [rule for rule in SIGNATURES.places.rules if rule.words is not None]

OWN = {
    f"{module.rpartition('.')[2]}.{name}": value
    for _, module, _ in walk_packages(agent.core.diagnosis.__path__, "agent.core.diagnosis.")
    for name, value in vars(import_module(module)).items()
    if isinstance(value, re.Pattern)
}
MATCHED_AT_ONE_PLACE = {
    "carriers._CONTAINER",
    "carriers._OURS",
    "carriers._UNIT",
    "provenance._UNIT",
    "frames._EXCEPTION",
    "frames._FRAME",
    "frames._INSTALLED",
    "frames._SOURCE_TREE",
    "frames._STDLIB",
    "frames._WITHIN",
    "lines._INNER",
    "lines._RESIDUE",
    "lines._TRANSPORT",
    "records._LOGFMT",
    "services._ENGINE_CODE",
    "services._GONE",
    "tracebacks._NOT_A_CAUSE",
    "usual._PART",
    "tracebacks._INSIDE",
    "tracebacks._OF_A_REQUEST",
    "own_words._NAMES",
    "own_words._PYTHON_WARNING",
    *(f"writers.{name}" for name in ("quoting_modules", "quoting_words", "engine_modules")),
    *(f"writers.{name}" for name in ("api_server", "request_head")),
    *(f"writers.{name}" for name in ("engine_exceptions", "native")),
}
WITHIN_400_CHARACTERS = {"carriers._ORIGIN", "lines._HEADER", "lines._PROCESS"}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_has_few_ways_to_match(name: str) -> None:
    try:
        steps = steps_of(PATTERNS[name], anchored=name.startswith("xid-line"))
    except TooManyWaysError as error:
        pytest.fail(f"{name}: {error}: {HOW}")
    assert steps <= STEPS_OF_20_MS, f"{name} may take {steps:.2g} steps: {HOW}"


@pytest.mark.parametrize("rule", WORDED, ids=lambda rule: rule.id)
def test_the_words_of_a_place_have_few_ways_to_match(rule: PlaceRule) -> None:
    assert rule.words is not None
    steps = steps_of(rule.words, line=MAX_WORDS)
    assert steps <= STEPS_OF_20_MS, f"{rule.id} may take {steps:.2g} steps: {HOW}"


@pytest.mark.parametrize("name", sorted(OWN.keys() - WITHIN_400_CHARACTERS))
def test_the_readers_own_patterns_are_quick_too(name: str) -> None:
    assert slowest(OWN[name], worst_lines(("a", "0 ", ".", "[0m", "(a pid=")), name) <= MOST


@pytest.mark.parametrize("name", [field.name for field in fields(Writers)])
def test_whose_words_a_line_holds_is_told_as_quickly(name: str) -> None:
    pattern: re.Pattern[str] = getattr(SIGNATURES.writers, name)
    parts = (
        "a",
        "0 ",
        "a.",
        "a/",
        "[Rank 1] ",
        "x.service: ",
        '"GET /',
        "Request ",
        "Failed to ",
        ' - "',
        'File "',
        "Added request ",
    )
    assert slowest(pattern, worst_lines(parts), f"writers.{name}") <= MOST


@pytest.mark.parametrize("signature", SIGNATURES.signatures, ids=lambda s: s.id)
def test_no_line_takes_a_pattern_longer_than_the_yardstick_allows(signature: Signature) -> None:
    for pattern in (signature.pattern, *(field for _, field in signature.fields)):
        worst = slowest(pattern, worst_lines(parts_of(signature)), signature.id)
        assert worst <= MOST, f"{signature.id}: {worst:.1f} yardsticks: {HOW}"


def parts_of(signature: Signature) -> tuple[str, ...]:
    """Return what a line can be made of to look like the signature nearly everywhere."""
    words = re.findall(r"[A-Za-z0-9_ :'./-]{4,}", signature.pattern.pattern)
    prefixes = [" ".join(e.split(" ")[:n]) + " " for e in signature.examples for n in (1, 4, 9)]
    return tuple(dict.fromkeys((*signature.literals, *signature.examples, *prefixes, *words)))


def worst_lines(parts: tuple[str, ...]) -> Iterator[str]:
    """Give lines of LINE characters: each part again and again, and with what nearly fits."""
    for filler in ("a", "0", " ", "a.", "A_"):
        yield filler * (LINE // len(filler))
    for part in parts:
        yield (part * (LINE // len(part) + 1))[:LINE]
    for part in parts[:8]:
        for filler in ("a", "0", " ", "'.", ": "):
            rest = filler * ((LINE - len(part)) // len(filler))
            yield part + rest
            yield rest + part


def slowest(pattern: re.Pattern[str], lines: Iterator[str], name: str) -> float:
    """Return the most yardsticks that one line took."""
    use = pattern.match if name in MATCHED_AT_ONE_PLACE else pattern.search
    return max(yardsticks(partial(use, line), MOST) for line in lines)
