# SPDX-License-Identifier: Apache-2.0
"""An entry of the TOML files -> a Signature, or what is wrong with the entry."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.core.diagnosis.facts import is_fact
from agent.core.diagnosis.numbers import is_number
from agent.core.diagnosis.signatures import Rank, Signature, SignatureError, SignatureKind, When
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.patterns import compile_pattern
from agent.core.stages.stage import Stage

_KEYS = frozenset(
    {
        "id",
        "kind",
        "class",
        "by_phase",
        "by_frame",
        "rank",
        "when",
        "phase",
        "what",
        "weak",
        "undecided",
        "unasked",
    }
    | {"literal", "pattern", "since", "until", "fields", "values", "fixed", "example"}
    | {"advice", "switches", "in_container", "ends", "begins"}
)


def signature_from_table(table: Mapping[str, object], order: int) -> Signature:
    """Build a signature from its TOML table; raises SignatureError naming the entry."""
    name = str(table.get("id", f"entry {order}"))
    try:
        return _build(name, table, order)
    except (KeyError, ValueError, TypeError, AttributeError, re.error) as error:
        raise SignatureError(f"signature {name}: {error}") from error


def _build(name: str, table: Mapping[str, object], order: int) -> Signature:
    unknown = set(table) - _KEYS
    if unknown:
        raise SignatureError(f"unknown keys {sorted(unknown)}")
    literals = _texts(table.get("literal", ()))
    pattern = compile_pattern(str(table.get("pattern") or "|".join(map(re.escape, literals))))
    stray = [g for g in pattern.groupindex if not _known_capture(g)]
    if stray:
        raise SignatureError(f"captures {stray} are neither facts nor numbers")
    failure = table.get("class")
    phase, within = table.get("phase"), table.get("in_container")
    ends, begins = table.get("ends"), table.get("begins")
    return Signature(
        id=name,
        kind=SignatureKind(str(table["kind"])),
        pattern=pattern,
        literals=literals,
        failure=None if failure is None else FailureClass(str(failure)),
        by_phase={
            EnginePhase(k): FailureClass(v) for k, v in _strings(table.get("by_phase")).items()
        },
        by_frame={k: FailureClass(v) for k, v in _strings(table.get("by_frame")).items()},
        in_container=None if within is None else FailureClass(str(within)),
        rank=Rank(str(table.get("rank", "wrapper" if table["kind"] == "wrapper" else "cause"))),
        when=When(str(table.get("when", "any"))),
        phase=None if phase is None else EnginePhase(str(phase)),
        what=str(table.get("what", "")),
        weak=bool(table.get("weak", False)),
        undecided=bool(table.get("undecided", False)),
        unasked=bool(table.get("unasked", False)),
        since=str(table.get("since", "")),
        until=str(table.get("until", "")),
        fields=tuple((k, compile_pattern(v)) for k, v in _strings(table.get("fields")).items()),
        values=_strings(table.get("values")),
        fixed=_strings(table.get("fixed")),
        ends=None if ends is None else Stage(str(ends)),
        begins=None if begins is None else Stage(str(begins)),
        advice=str(table.get("advice", "")),
        switches=_texts(table.get("switches", ())),
        examples=_texts(table.get("example", ())),
        order=order,
    )


_OTHER_CAPTURES = frozenset(
    {"version", "percent", "part", "whole", "detail", "status", "method", "path", "running"}
    | {"prompt_rate", "generation_rate", "value", "blocks"}
)


def _known_capture(name: str) -> bool:
    return is_fact(name) or is_number(name) or name in _OTHER_CAPTURES


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(str(item) for item in value)
    raise TypeError(f"{value!r} is no text nor list of texts")


def _strings(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no table")
    return {str(key): str(item) for key, item in value.items()}
