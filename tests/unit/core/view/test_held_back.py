# SPDX-License-Identifier: Apache-2.0
"""What slows a host's cards is told to those whose ranks wait for them."""

from __future__ import annotations

from dataclasses import replace

from agent.core.gpu.reading import Gpus
from agent.core.settings.service import Settings
from agent.core.state.card import Card, Heat, Throttle
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.core.view.held_back import held_back
from tests.given.some_gpus import DRIVER, H200

GPUS = Gpus(1000.0, tuple(replace(H200, uuid=f"GPU-{n}", index=n) for n in range(8)), DRIVER)
SERVICE = ServiceState("vllm", Phase.SERVING, 900.0, "")


def told(cards: tuple[Card, ...], gpus: tuple[str, ...] = ("all",), known: Gpus = GPUS) -> str:
    s = replace(SERVICE, running=Settings("vllm", "/srv/m", gpus=gpus))
    return held_back(s, known, {card.uuid: card for card in cards})


COLD = Card("GPU-0")
HOT = Card("GPU-3", heat=Heat(lowered_to_watts=350.0))


def test_nothing_is_said_of_cards_that_run_as_asked() -> None:
    assert told((COLD,)) == ""
    assert held_back(SERVICE, GPUS, {}) == ""
    assert held_back(replace(SERVICE, running=Settings("v", "/m")), None, {}) == ""


def test_a_card_that_heat_has_taken_power_from_is_named() -> None:
    assert told((COLD, HOT)) == "GPU 3 is held at 350 W for its heat"
    assert told((HOT,), gpus=("0", "1")) == "", "another service's card"


def test_an_episode_of_throttling_counts_once_it_was_told() -> None:
    episode = Throttle(("hw_thermal_slowdown",), 950.0)
    slow = Card("GPU-1", throttle=episode)
    assert told((slow,)) == ""
    said = told((replace(slow, throttle=replace(episode, told=True)),))
    assert said == "GPU 1 is slowed down (hw_thermal_slowdown)"


def test_of_many_cards_three_are_named() -> None:
    said = told(tuple(replace(HOT, uuid=f"GPU-{n}") for n in range(8)))
    assert said.count("350 W") == 3
    assert said.endswith(" and 5 more")
