# SPDX-License-Identifier: Apache-2.0
"""What each failure class means: who can cure it, what a person must do, what the agent does."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from agent.core.failures.classes import FailureClass, Group, Kind
from agent.core.failures.shipped import CLASSES
from agent.core.failures.xids import XidAction, xid_action
from agent.core.numerals import whole_number
from agent.core.record import dataclass


class Proof(StrEnum):
    """What a failure proves of the memory that the KV cache had in the failed run.

    NOT_ENOUGH: too little of the GPU was left for the run, which says nothing of the cache.
    """

    TOO_HIGH = "too-high"
    TOO_LOW = "too-low"
    NOT_ENOUGH = "not-enough"


class AtLast(StrEnum):
    """What follows when no rung of the ladder is left, where that is not what the kind asks for."""

    MEMORY_MAY_COME_FREE = "memory-may-come-free"
    TRY_UNTIL_IT_WORKS = "try-until-it-works"
    FETCH_AGAIN = "fetch-again"
    SERVE_ON = "serve-on"


@dataclass(frozen=True, slots=True)
class FailureFacts:
    """One entry of agent/failures/classes.toml, whose head explains the columns."""

    kind: Kind
    group: Group
    advice: str
    undecided: bool = False
    for_want_of_gpu_memory: bool = False
    hangs_on_others: bool = False
    proves: Proof | None = None
    ladder: tuple[str, ...] = ()
    """The names of the rungs in their order, each as often as it is taken."""

    at_last: AtLast | None = None
    retry_after_seconds: float = 0.0


def facts_from_row(row: Mapping[str, Any]) -> FailureFacts:
    """Return an entry of the table; raises ValueError, TypeError or KeyError where it is wrong."""
    columns = {
        **row,
        "kind": Kind(row["kind"]),
        "group": Group(row["group"]),
        "proves": Proof(row["proves"]) if "proves" in row else None,
        "at_last": AtLast(row["at_last"]) if "at_last" in row else None,
        "ladder": tuple(rung for part in row.get("ladder", ()) for rung in _rungs(part)),
    }
    return FailureFacts(**columns)


def _rungs(part: str) -> tuple[str, ...]:
    """Return `name` as often as "name x3" says."""
    name, _, times = part.partition(" x")
    return (name,) * int(times or 1)


_XID_ADVICE: Mapping[XidAction, str] = {
    XidAction.NOTE: "Nothing now; look at the kernel log when it comes often.",
    XidAction.RESTART: "Restart vLLM; when it comes back within the hour, suspect the last change "
    "of model, flags or version.",
    XidAction.RESET: "Stop everything that uses the GPU and reset it (nvidia-smi -r), else reboot.",
    XidAction.REBOOT: "Power-cycle the host; check the card's seat, its power cables and the power "
    "supply, and try a lower power limit.",
    XidAction.HOLD: "Check cables, power and firmware of the GPU; no restart helps.",
}

_CURED_BY_A_START: Final = frozenset({XidAction.NOTE, XidAction.RESTART})


def _facts_of_xid(action: XidAction) -> FailureFacts:
    kind = Kind.TRANSIENT if action in _CURED_BY_A_START else Kind.HUMAN
    return FailureFacts(kind, Group.HARDWARE, _XID_ADVICE[action])


def _facts(failure: FailureClass) -> FailureFacts:
    row = CLASSES.get(failure.value)
    if row is not None:
        return facts_from_row(row)
    code = whole_number(failure.value.removeprefix("xid-"))
    return _facts_of_xid(XidAction.NOTE if code is None else xid_action(code))


TABLE: Final[Mapping[FailureClass, FailureFacts]] = {name: _facts(name) for name in FailureClass}

NEVER_A_FAILURE: Final = frozenset(
    name for name, row in TABLE.items() if row.group in {Group.SHUTDOWN, Group.FALLBACK}
)
"""How a run stopped, or how it differs from what was asked: the engine did what it could."""


def kind_of(failure: FailureClass) -> Kind:
    """Return who can cure the failure."""
    return TABLE[failure].kind


def group_of(failure: FailureClass) -> Group:
    """Return what the failure is about."""
    return TABLE[failure].group


def advice_for_class(failure: FailureClass) -> str:
    """Return the one sentence that tells a person what to do."""
    return TABLE[failure].advice


def transient(failure: FailureClass) -> bool | None:
    """Tell whether the same settings may succeed next time; None when the log cannot know.

    `oom-free-mem-startup` is None: the holder of the memory may be leaving or may stay.
    """
    row = TABLE[failure]
    return None if row.undecided else row.kind is Kind.TRANSIENT


_ACTED_ON: Final = frozenset({Group.MEMORY, Group.HARDWARE, Group.FILES})


def harms_when_wrong(failure: FailureClass) -> bool:
    """Tell whether the remedy does harm where the failure is another one.

    It changes settings of memory, resets or condemns a card, or fetches files again; or it starts
    for ever what no new start cures.
    """
    return group_of(failure) in _ACTED_ON or transient(failure) is True
