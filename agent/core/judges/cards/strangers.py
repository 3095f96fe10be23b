# SPDX-License-Identifier: Apache-2.0
"""Xids of cards that NVML never showed: told once a minute, whoever writes how many."""

from __future__ import annotations

from agent.core.judges.turn import AGENT, Turn
from agent.core.state.card import Strangers

APART_SECONDS = 60.0


def tell(turn: Turn, what: str, code: int) -> None:
    """Tell of one, or count it for the next sentence."""
    known = turn.strangers
    if turn.at - known.told_at < APART_SECONDS:
        turn.strangers = Strangers(known.told_at, known.left_out + 1)
        return
    turn.tell(AGENT, "xid", f"{what}{_left_out(known.left_out)}", xid=code)
    turn.strangers = Strangers(turn.at)


def on_tick(turn: Turn) -> None:
    """Tell how many were left out, once a minute is over."""
    known = turn.strangers
    if known.left_out and turn.at - known.told_at >= APART_SECONDS:
        what = f"{known.left_out} more Xids of GPUs that NVML never showed were left out here"
        turn.tell(AGENT, "xid", what)
        turn.strangers = Strangers(turn.at)


def _left_out(count: int) -> str:
    return f" (and {count} more were left out before it)" if count else ""
