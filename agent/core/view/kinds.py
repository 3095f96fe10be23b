# SPDX-License-Identifier: Apache-2.0
"""What a row of the history is by its kind: a warning, the beginning of an outage, its end."""

from __future__ import annotations

LOUD = frozenset(
    {"failure", "held", "mismatch", "refused", "kill", "died", "effector", "rolled-back"}
    | {"left-alone", "undead", "port", "gpu-lost", "driver-problem"}
    | {"follow", "peer-away"}
    | {"gpu-ailing", "xid", "heat-critical", "throttled", "drain"}
    | {"power-blocked", "power-degraded", "power-yielded"}
)
"""Told as a warning."""

OPENS = frozenset({"died", "kill", "follow"})
"""Kinds of rows with which a service is no longer there for those who ask it."""

ENDS = frozenset({"serving", "held", "stopped", "forgotten"})
"""Kinds of rows with which an outage is over, or nobody works on its end any more."""
