# SPDX-License-Identifier: Apache-2.0
"""An exception that may have ended a process, and what of its words may be a client's."""

from __future__ import annotations

import re

from agent.core.record import dataclass

_TOLD = re.compile(
    r"\b(?:triggered|caused) by (?:an? |the )?[`'\"]?"
    r"((?:[A-Za-z_]\w{0,60}\.){0,6}[A-Z]\w{0,60}(?:Error|Exception): [^`]{1,400})"
)
"""What a person writes of an exception that led to another: "triggered by an `X: words`"."""


@dataclass(frozen=True, slots=True)
class Thrown:
    """An exception that may have ended a process: its line, with the failed code where it is bare.

    `frames` are those of its traceback, outermost first; `instead` as in Traceback. `refusal` is
    true for the reason that pydantic prints below its headline.
    """

    text: str
    frames: tuple[str, ...]
    instead: bool
    refusal: bool = False
    forgiven_since: int | None = None
    """It ends nothing, nor does what was thrown since that line, which led to it."""


def told_of(text: str) -> str:
    """Return the exception that a line in a person's words names as the cause, "" for none."""
    found = _TOLD.search(text) if " by " in text else None
    return "" if found is None else found.group(1)


def own_words(thrown: str, of_the_engine: re.Pattern[str] | None) -> str:
    """Return an exception without its words where those of a request may be in them.

    `of_the_engine` knows the names of the others; None: all are so.
    """
    name, colon, _ = thrown.partition(":")
    known = of_the_engine is None or of_the_engine.fullmatch(name)
    return thrown if known or not colon else f"{name}:"
