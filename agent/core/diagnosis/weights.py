# SPDX-License-Identifier: Apache-2.0
"""One scale for all failure lines of a run: the lowest weight is nearest to the root.

The order is that of an engine's death, from what brings it about to what only tells of it: the card
fails, a call is refused, an exception is thrown, a wrapper reports that a process is gone. Of two
lines of one weight the earlier one counts. What makes a line a weaker witness (a warning, quoted
code, an exception that was being handled) moves it down by less than it takes to pass from a cause
to what follows from it, so a soft cause still beats the hard symptom behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.core.diagnosis.placement.places import Placed
from agent.core.diagnosis.signatures import Rank, Signature
from agent.core.failures.xids import XidAction, xid_action

# The scale, root first.
CARD_NEEDS_REBOOT: Final = 0.0
"""An Xid after which only a reboot helps: no software brought that about."""
CARD_IS_BAD: Final = 0.2
"""An Xid for which the card must not be used any more."""
CARD_NEEDS_RESET: Final = 0.4
"""An Xid after which the card must be reset."""
DRIVER_ASKS: Final = 0.5
"""What the driver asks for of a card, where the Xid before it asks for less."""
ROOT: Final = 0.8
"""A line that says more of the reason than the exception which it leads to."""
CAUSE: Final = 1.0
"""A line that names the reason: most signatures."""
PLACED_BY_WORDS: Final = 1.9
"""An exception of no signature, named by a rule on its own words and place."""
SYMPTOM: Final = 2.0
"""What follows from a cause, and is one where no cause was printed."""
PRELUDE: Final = 2.1
"""Native code says that it ends; the next line says why, where it is known."""
PLACED_BY_FRAMES: Final = 2.5
"""An exception of which only its frames tell a class: less than its words would."""
SUMMARY: Final = 2.78
"""It names which part threw, and that the reason stands elsewhere."""
HEADLINE: Final = 2.8
"""It names what was refused and not why: an exception's place tells more."""
HINT: Final = 2.95
"""A complaint that most runs survive, which explains the death of this one if nothing else does."""
WRAPPER: Final = 3.0
"""It tells that a process is gone: never the class while anything else is there."""
NOTE: Final = 4.0
"""An Xid that ends no run: told, and from here on no line can be what ended the run."""

# What is added.
WARNED: Final = 0.5
"""A mere warning, or an error that was caught: it stays before any symptom."""
QUOTED_CODE: Final = 0.3
"""A traceback quotes the code that raises: the exception itself follows, and is preferred."""
PLACE_LOST: Final = 0.2
"""An exception of which no frame survived: it may be printed again, with its frames."""
HANDLED: Final = 0.25
"""An exception that was being handled when the next one came, or whose place tells no class."""

_OF_RANK: Final = {
    Rank.ROOT: ROOT,
    Rank.CAUSE: CAUSE,
    Rank.SYMPTOM: SYMPTOM,
    Rank.PRELUDE: PRELUDE,
    Rank.SUMMARY: SUMMARY,
    Rank.HEADLINE: HEADLINE,
    Rank.HINT: HINT,
    Rank.WRAPPER: WRAPPER,
}
_OF_XID: Final = {
    XidAction.REBOOT: CARD_NEEDS_REBOOT,
    XidAction.HOLD: CARD_IS_BAD,
    XidAction.RESET: CARD_NEEDS_RESET,
    # The process is at fault, or died of it: its own exception says more.
    XidAction.RESTART: SYMPTOM,
    XidAction.NOTE: NOTE,
}
_TOLD_AFTER_ANOTHER_XID: Final = 154
"""The driver's own summary of an Xid before it, which is the one that counts (NVIDIA's catalogue:
"GPU Recovery Action Changed")."""

_ASKS_FOR_THE_CARD: Final = frozenset({1, 2, 3, 4, 6, 7})
"""nvmlDeviceGpuRecoveryAction_t (nvml.h 13.5): reset, reboot, drain, drain and reset; 0 asks for
nothing, 5 is about IMEX alone."""


def weight_of_line(
    signature: Signature, numbers: Mapping[str, float | int], *, soft: bool, in_code: bool
) -> float:
    """Return the weight of a line that a signature knows; an Xid's comes from its action."""
    code = numbers.get("xid")
    if code is None:
        weight = _OF_RANK[signature.rank] + (WARNED if soft else 0.0)
    elif code == _TOLD_AFTER_ANOTHER_XID:
        asked = numbers.get("recovery_action", 0)
        weight = DRIVER_ASKS if asked in _ASKS_FOR_THE_CARD else SYMPTOM
    else:
        weight = _OF_XID[xid_action(int(code))]
    return weight + (QUOTED_CODE if in_code else 0.0)


def weight_of_place(placed: Placed) -> float:
    """Return the weight of an exception that only its place explains."""
    weight = PLACED_BY_WORDS if placed.by_words else PLACED_BY_FRAMES
    weight += PLACE_LOST if not placed.frame and not placed.by_words else 0.0
    return weight if placed.failure is not None else weight + HANDLED
