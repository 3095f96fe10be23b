# SPDX-License-Identifier: Apache-2.0
"""The table of phases is complete."""

from __future__ import annotations

from agent.core.state.phases import Phase
from agent.core.state.transitions import TRANSITIONS


def test_every_phase_can_be_reached_and_left() -> None:
    assert {new for _, new in TRANSITIONS} == set(Phase)
    assert {old for old, _ in TRANSITIONS} == set(Phase)


def test_serving_is_only_reached_through_verification() -> None:
    assert [old for old, new in TRANSITIONS if new is Phase.SERVING] == [Phase.VERIFYING]
