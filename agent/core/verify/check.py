# SPDX-License-Identifier: Apache-2.0
"""One line of the verification list: an item, asked against got, with its proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Generic, TypeVar

from agent.core.record import dataclass

T = TypeVar("T")

NOT_ASKED = "vLLM's choice"
NOT_KNOWN = "not known"


class Verdict(StrEnum):
    """What the evidence allows to say."""

    PROVEN = "proven"
    CONTRADICTED = "contradicted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One item; `evidence` is the log line or metric, empty only when the verdict is unknown.

    An item that nobody asked for has `asked` "vLLM's choice", and is proven by being known.
    """

    item: str
    asked: str
    got: str
    verdict: Verdict
    evidence: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Statement(Generic[T]):
    """One statement of the engine about a value."""

    value: T
    evidence: str


@dataclass(frozen=True, slots=True)
class Wanted(Generic[T]):
    """What must be true: `value`, or nothing in particular; `note` says where it comes from."""

    value: T | None
    note: str = ""


def unknown(item: str, asked: str, why: str) -> Check:
    """Return the check of something that cannot be told."""
    return Check(item, asked, NOT_KNOWN, Verdict.UNKNOWN, "", why)


def compare(
    item: str,
    wanted: Wanted[T],
    seen: Sequence[Statement[T]],
    same: Callable[[T, T], bool],
    why_unknown: str,
) -> Check | None:
    """Judge every statement: one that differs contradicts, and is the evidence.

    None when nothing was asked and nothing is known.
    """
    if wanted.value is None:
        if not seen:
            return None
        first = seen[0]
        return Check(item, NOT_ASKED, as_item(first.value), Verdict.PROVEN, first.evidence)
    asked = as_item(wanted.value)
    if not seen:
        return unknown(item, asked, joined(why_unknown, wanted.note))
    for one in seen:
        if not same(wanted.value, one.value):
            return Check(
                item, asked, as_item(one.value), Verdict.CONTRADICTED, one.evidence, wanted.note
            )
    first, *others = seen
    also = "; ".join(f"also {other.evidence}" for other in others)
    return Check(
        item,
        asked,
        as_item(first.value),
        Verdict.PROVEN,
        first.evidence,
        joined(wanted.note, also),
    )


def joined(*notes: str) -> str:
    """Join the notes that say something."""
    return "; ".join(note for note in notes if note)


def as_item(value: object) -> str:
    """Return a value as the verification list shows it."""
    match value:
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
