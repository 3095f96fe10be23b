# SPDX-License-Identifier: Apache-2.0
"""Why a service is kept from running, and what ends that."""

from __future__ import annotations

from enum import StrEnum

from agent.core.record import dataclass


class HeldBy(StrEnum):
    """Whose business it is to hold a service and to let it go."""

    CARD = "card"
    """A GPU of its ails or is too hot."""

    DRIVER = "driver"
    """The parts of the driver do not agree."""

    PLAN = "plan"
    """Its plan cannot fit."""

    FETCH = "fetch"
    """Its model cannot be fetched."""

    FAILURE = "failure"
    """It failed, and only a person can help."""

    MISMATCH = "mismatch"
    """It does not run as asked, and `on_mismatch` says to stop it then."""

    FOREIGN = "foreign"
    """Its unit is somebody else's."""


@dataclass(frozen=True, slots=True)
class Held:
    """One reason to hold a service."""

    by: HeldBy
    why: str
    what_to_do: str
    """What a person must do about it."""

    until: str = ""
    """What ends it without a person, as the history tells it then; "" for nothing."""

    card: str = ""
    """The UUID of the GPU that must be well or cool first."""

    wants_bytes: int = 0
    """The free space that ends it; 0 where space is not what is missing."""

    at_once: bool = False
    """Even a service that runs must stop for it."""
