# SPDX-License-Identifier: Apache-2.0
"""The levers; the next one is a module of this folder and a word here."""

from __future__ import annotations

from agent.core.judges.cards.levers import clock_lock, persistence, power
from agent.core.judges.cards.levers.lever import Lever

LEVERS: tuple[Lever, ...] = (power, clock_lock, persistence)
"""In the order in which they judge a reading."""

BEFORE_A_START: tuple[Lever, ...] = (power, clock_lock)
"""A start waits until these are set, as what it computes at first is not to be too hot."""
