# SPDX-License-Identifier: Apache-2.0
"""The automaton that every lever of a card follows, and that each lever is one."""

from __future__ import annotations

import pytest

from agent.core.codec import decode, encode
from agent.core.judges.cards.levers.every import BEFORE_A_START, LEVERS
from agent.core.judges.cards.levers.lever import LOST_SECONDS, Stage, stage
from agent.core.judges.turn import Turn
from agent.core.state.card import Attempt, Cap, Card, LeverState, Setting
from agent.core.state.host import HostState
from agent.core.state.policy import HostPolicy

NOW = 1000.0
PATIENCE = 15.0
ASKED = Attempt(action_id=7, asked_at=NOW - 1)
LOST = Attempt(action_id=7, asked_at=NOW - LOST_SECONDS - 1)
JUST_SET = Attempt(set_at=NOW - PATIENCE + 1)
LONG_SET = Attempt(set_at=NOW - PATIENCE)
LATER = Attempt(retry_at=NOW + 1, tries=1)
BLOCKED = LeverState.BLOCKED


@pytest.mark.parametrize(
    ("setting", "reached", "found"),
    [
        (Setting(), False, Stage.DUE),
        (Setting(), True, Stage.REACHED),
        (Setting(attempt=ASKED), True, Stage.UNDER_WAY),
        (Setting(BLOCKED, attempt=ASKED), False, Stage.UNDER_WAY),
        (Setting(BLOCKED), True, Stage.REACHED),
        (Setting(BLOCKED), False, Stage.BLOCKED),
        (Setting(attempt=LOST), True, Stage.REACHED),
        (Setting(attempt=LOST), False, Stage.LOST),
        (Setting(attempt=JUST_SET), False, Stage.READING_BACK),
        (Setting(attempt=LONG_SET), False, Stage.NOT_TAKEN),
        (Setting(LeverState.DEGRADED, attempt=LATER), False, Stage.RESTING),
        (Setting(LeverState.IN_FORCE), False, Stage.DUE),
    ],
)
def test_the_first_stage_that_holds_is_the_stage(
    setting: Setting, reached: bool, found: Stage
) -> None:
    turn = Turn(HostState(), HostPolicy({}, {}), NOW)
    assert stage(turn, setting, reached=reached, patience=PATIENCE) is found


def test_each_lever_has_a_setting_of_its_own_with_a_card() -> None:
    card = Card("GPU-1")
    assert len({type(lever.setting(card)) for lever in LEVERS}) == len(LEVERS)
    assert set(BEFORE_A_START) <= set(LEVERS)


@pytest.mark.parametrize("lever", LEVERS)
def test_an_agent_that_starts_waits_for_nothing_that_another_asked_for(lever: object) -> None:
    (one,) = (known for known in LEVERS if known is lever)
    card = Card("GPU-1", cap=Cap(attempt=ASKED))
    assert one.setting(one.begin_anew(card)).attempt.action_id == 0


def test_a_card_that_an_earlier_release_stored_is_read() -> None:
    cap = {"state": "in-force", "why": "", "asked_watts": 300.0, "target_watts": 300.0}
    cap |= {"found_watts": 450.0, "held_lower_watts": None, "foreign_at": [], "reasserts": {}}
    row = {
        "uuid": "GPU-1",
        "cap": {**cap, "attempt": encode(Attempt())},
        "lock": {"state": "blocked", "why": "no", "target_mhz": [210, 1410], "told": True},
        "persistence": {"state": "off", "why": "", "off_told": True},
    }
    card = decode(Card, row)
    assert (card.cap.target_watts, card.cap.found_watts) == (300.0, 450.0)
    assert (card.lock.target_mhz, card.lock.told) == ((210, 1410), True)
    assert card.persistence.off_told
