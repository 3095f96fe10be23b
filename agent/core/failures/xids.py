# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's catalogue of Xids (docs.nvidia.com/deploy/xid-errors), and what is done about a code."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from agent.core.failures.classes import FailureClass
from agent.core.failures.shipped import XIDS
from agent.core.record import dataclass


class XidAction(StrEnum):
    """What an Xid asks for on a host that nobody watches."""

    NOTE = "note"
    RESTART = "restart"
    RESET = "reset"
    REBOOT = "reboot"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class XidMeaning:
    """One row of the catalogue: its name, what it means, NVIDIA's immediate action, and ours."""

    name: str
    meaning: str = ""
    nvidia: str = ""
    action: XidAction = XidAction.NOTE


def _meaning(row: Mapping[str, str]) -> XidMeaning:
    action = XidAction(row.get("action", XidAction.NOTE))
    return XidMeaning(row["name"], row.get("meaning", ""), row.get("nvidia", ""), action)


CATALOGUE: Final[Mapping[int, XidMeaning]] = {code: _meaning(row) for code, row in XIDS.items()}

_UNLISTED: Final = XidMeaning("")


def meaning_of_xid(code: int) -> XidMeaning:
    """Return the catalogue's row; one without a name for a code that it lacks."""
    return CATALOGUE.get(code, _UNLISTED)


def xid_action(code: int) -> XidAction:
    """Return what is done about an Xid; codes that the catalogue gives no action are noted only."""
    return meaning_of_xid(code).action


def of_xid(code: int) -> FailureClass:
    """Return the class of an Xid code; `xid-other` for one that the catalogue does not use."""
    try:
        return FailureClass(f"xid-{code}")
    except ValueError:
        return FailureClass.XID_OTHER
