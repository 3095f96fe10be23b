# SPDX-License-Identifier: Apache-2.0
"""The statements of a script in the order in which they run: a function's where it is called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from agent.core.record import dataclass

MOST_STATEMENTS = 4000
DEEPEST = 4
"""So deep one function calls another."""

_NAMED = re.compile(r"(?:function\s+([\w.-]+)\s*(?:\(\))?|([\w.-]+)\s*\(\))\s?\{\s*")
_LEADS = re.compile(r"(?:then|do|else|if|elif|while|until|!|\{|\(?[\w|*.-]{1,80}\))\s+")
"""What may stand before a call: a word of the shell's, or a pattern of `case`."""


@dataclass(frozen=True, slots=True)
class Step:
    """A statement, or with `is_call` the call whose words are the next statements' arguments.

    One without words is the end of the last call.
    """

    statement: str
    is_call: bool = False


def in_order(statements: Sequence[str]) -> Iterator[Step]:
    """Yield the statements; those of a function that nobody calls by name where they stand.

    No more than MOST_STATEMENTS: functions may call one another without end.
    """
    outside, bodies = _divided(statements)
    everywhere = [*outside, *(one for body in bodies.values() for one in body)]
    called = {name for one in everywhere if (name := _called(one, bodies))}
    if not called:
        yield from map(Step, statements[:MOST_STATEMENTS])
        return
    outside, bodies = _divided(statements, frozenset(called))
    left = MOST_STATEMENTS
    for step in _run(outside, bodies, 0):
        yield step
        left -= 1
        if not left:
            return


def _run(
    statements: Sequence[str], bodies: Mapping[str, Sequence[str]], depth: int
) -> Iterator[Step]:
    for statement in statements:
        name = _called(statement, bodies)
        if not name or depth >= DEEPEST:
            yield Step(statement)
            continue
        # What stands before the call, as "if", opens a branch.
        begun = statement[: statement.index(name)]
        if begun.strip():
            yield Step(begun.strip())
        yield Step(statement[len(begun) :], is_call=True)
        yield from _run(bodies[name], bodies, depth + 1)
        yield Step("", is_call=True)


def _divided(
    statements: Sequence[str], wanted: frozenset[str] | None = None
) -> tuple[list[str], dict[str, list[str]]]:
    """Tell functions (those that are wanted) from what stands outside of them."""
    outside: list[str] = []
    bodies: dict[str, list[str]] = {}
    body: list[str] | None = None
    depth = 0
    for statement in statements:
        named = _NAMED.match(statement)
        name = (named[1] or named[2]) if named else ""
        if body is None and named and (wanted is None or name in wanted):
            body = bodies.setdefault(name, [])
            depth, statement = 1, statement[named.end() :]
            if not statement:
                continue
        elif body is not None:
            depth += statement.startswith("{") or named is not None
            if statement.startswith("}"):
                depth -= 1
                if depth <= 0:
                    body = None
                    continue
        (outside if body is None else body).append(statement)
    return outside, bodies


def _called(statement: str, bodies: Mapping[str, Sequence[str]]) -> str:
    """Return the function that a statement calls, "" for none."""
    while begun := _LEADS.match(statement):
        statement = statement[begun.end() :]
    name = statement.split(maxsplit=1)[0] if statement.strip() else ""
    return name if name in bodies else ""
