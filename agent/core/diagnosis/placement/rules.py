# SPDX-License-Identifier: Apache-2.0
"""One rule of where an exception was thrown, from its TOML table, and what it proves.

A remedy that does harm where its class is wrong needs more than a module: the exception's own
words, a name that is its own, or the very function that does such a thing. A ValueError from
somewhere below the model loader may be anybody's, and no file is fetched again for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Final

from agent.core.failures.classes import EnginePhase, FailureClass, Group
from agent.core.failures.meaning import group_of, harms_when_wrong
from agent.core.patterns import compile_pattern
from agent.core.record import dataclass

UNPROVED_ADVICE: Final = (
    "What is at fault is not known from this place alone: it may be this release, a package or a "
    "setting. Read what the exception says, and use the release before or a newer one; fetch no "
    "file again and change no hardware for it."
)

_OF_ANYBODY: Final = frozenset(
    {"Exception", "RuntimeError", "ValueError", "AssertionError", "KeyError", "IndexError"}
    | {"LookupError", "AttributeError", "TypeError", "NotImplementedError", "NameError", "OSError"}
    | {"UnboundLocalError", "ArithmeticError", "ZeroDivisionError", "RecursionError", "SystemError"}
)
"""Python's own exceptions that any code throws for any reason."""

_FILES = frozenset({Group.FILES})
_PROVED_BY_SERVING = _FILES | {Group.CONFIGURATION}


@dataclass(frozen=True, slots=True)
class PlaceRule:
    """One entry of places.toml."""

    id: str
    what: str
    """What names the place in a sentence."""

    failure: FailureClass | None = None
    """The class, where neither exception nor phase gives one; None passes the exception on."""

    modules: tuple[str, ...] = ()
    thrower: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    words: re.Pattern[str] | None = None
    functions: re.Pattern[str] | None = None
    """The whole name of the function that threw; a rule without words claims any frame of it."""

    by_exception: Mapping[str, FailureClass] = field(default_factory=dict)
    """The class by the exception's own name; it goes before `by_phase`. `unknown`: another
    exception tells more, and no outer frame does."""

    by_phase: Mapping[EnginePhase, FailureClass] = field(default_factory=dict)
    phases: tuple[EnginePhase, ...] = ()
    """The phases in which the rule counts; (): in all."""

    transparent: bool = False
    """It only looks through the frame."""

    advice: str = ""
    """What to do there; "": what the class says."""

    switches: tuple[str, ...] = ()
    """What to turn off there; (): what the class says."""

    examples: tuple[str, ...] = ()

    def class_of(self, name: str, phase: EnginePhase | None) -> FailureClass | None:
        """Return the class of an exception by its name and when it was thrown."""
        last = name.rpartition(".")[2]
        if last in self.by_exception:
            failure: FailureClass | None = self.by_exception[last]
        elif phase is not None and phase in self.by_phase:
            failure = self.by_phase[phase]
        else:
            failure = self.failure
        serves = phase is EnginePhase.SERVING and phase not in self.by_phase
        if failure is None or not serves:
            return failure
        proved = _FILES if self.words is not None else _PROVED_BY_SERVING
        return FailureClass.ENGINE_BUG if group_of(failure) in proved else failure

    def proves(self, failure: FailureClass, name: str) -> bool:
        """Tell whether this rule is enough to say so of an exception of that name."""
        if self.words is not None or not harms_when_wrong(failure):
            return True
        last = name.rpartition(".")[2]
        listed = self.by_exception.get(last) is failure
        if self.names:
            return listed or not self.by_exception
        return listed and (self.functions is not None or last not in _OF_ANYBODY)


class PlaceError(ValueError):
    """Tells which rule of places.toml cannot be used and why."""


_KEYS = frozenset(
    {"id", "what", "class", "modules", "thrower", "names", "words", "by_exception", "by_phase"}
    | {"functions", "phases", "transparent", "advice", "switches", "example"}
)


def rule_from_table(table: Mapping[str, object], exceptions: Mapping[str, object]) -> PlaceRule:
    """Build a rule from its TOML table; raises PlaceError naming the entry.

    `by_exception` may name a row of `exceptions`, which several rules share.
    """
    name = str(table.get("id", "without id"))
    try:
        if unknown := set(table) - _KEYS:
            raise PlaceError(f"unknown keys {sorted(unknown)}")
        words, failure = table.get("words"), table.get("class")
        functions = table.get("functions")
        shared = table.get("by_exception", {})
        if isinstance(shared, str):
            shared = exceptions[shared]
        return PlaceRule(
            id=name,
            what=str(table["what"]),
            failure=None if failure is None else FailureClass(str(failure)),
            modules=_texts(table, "modules"),
            thrower=_texts(table, "thrower"),
            names=_texts(table, "names"),
            words=None if words is None else compile_pattern(str(words)),
            functions=None if functions is None else compile_pattern(str(functions)),
            by_exception={
                exception: FailureClass(value)
                for value, names in _table(shared).items()
                for exception in map(str, _list(names))
            },
            by_phase={
                EnginePhase(k): FailureClass(str(v))
                for k, v in _table(table.get("by_phase", {})).items()
            },
            phases=tuple(EnginePhase(name) for name in _texts(table, "phases")),
            transparent=table.get("transparent") is True,
            advice=str(table.get("advice", "")),
            switches=_texts(table, "switches"),
            examples=_texts(table, "example"),
        )
    except (KeyError, ValueError, TypeError, re.error) as error:
        raise PlaceError(f"place {name}: {error}") from error


def _texts(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    return tuple(map(str, _list(table.get(key, []))))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no table")
    return value
