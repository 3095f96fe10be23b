# SPDX-License-Identifier: Apache-2.0
"""What a look at the GPUs leads to: the inventory, and each concern's judgement of each card."""

from __future__ import annotations

from agent.core.changed import changed
from agent.core.gpu.reading import Gpu, Gpus
from agent.core.judges.cards import ailments, heat, lower_power, throttle, xids
from agent.core.judges.cards.levers import power
from agent.core.judges.cards.levers.every import BEFORE_A_START, LEVERS
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.state.card import Card, CardLive, Cause, Heat, LeverState
from agent.core.state.observations import GpuActionDone, GpusSeen
from agent.core.state.service import ServiceState

A_LOOK = "waits for a look at its GPUs"
"""Every start waits for this briefly, so it is not reported."""

GATE_SECONDS = 15.0
"""A start waits for its cards' limits at most this long."""


def on_gpus(turn: Turn, seen: GpusSeen) -> None:
    """Remember which cards there are, one that vanished as lost, and judge those that are there."""
    before, turn.gpus = turn.gpus, seen.gpus
    if seen.gpus.driver.problem:
        return
    reloaded = before is not None and bool(before.driver.problem)
    for gpu in seen.gpus.gpus:
        card = _known_as(turn.cards.get(gpu.uuid) or Card(gpu.uuid), gpu)
        if reloaded:
            card = _upset(turn, power.again(card), Cause.DRIVER_RELOAD)
        turn.put_card(card)
    for card in tuple(turn.cards.values()):
        turn.put_card(_presence(turn, card, seen.gpus))
    xids.on_gpus(turn, seen.gpus)
    for gpu in seen.gpus.gpus:
        turn.put_card(_judge(turn, turn.cards[gpu.uuid], gpu, before))


def _known_as(card: Card, gpu: Gpu) -> Card:
    return changed(
        card,
        index=gpu.index,
        name=gpu.name or card.name,
        pci_bus_id=gpu.pci_bus_id or card.pci_bus_id,
    )


def _upset(turn: Turn, card: Card, cause: Cause) -> Card:
    return changed(card, live=changed(card.live, upset=cause, upset_at=turn.at))


def _presence(turn: Turn, card: Card, gpus: Gpus) -> Card:
    there = any(gpu.uuid == card.uuid and not gpu.lost for gpu in gpus.gpus)
    if there and card.lost_since:
        lasted = turn.at - card.lost_since
        tell(turn, card, "gpu-back", f"{named(card)} is back after {lasted:.0f} s")
        card = ailments.recovered(turn, card, "it is back")
        return _upset(turn, changed(card, lost_since=0.0), Cause.RESET)
    if not there and not card.lost_since:
        tell(turn, card, "gpu-lost", f"{named(card)} is lost: NVML does not reach it any more")
        return changed(card, lost_since=turn.at)
    return card


def _judge(turn: Turn, card: Card, gpu: Gpu, before: Gpus | None) -> Card:
    card = ailments.on_gpu(turn, card, gpu)
    if gpu.lost:
        return card
    then = _look_of(card.uuid, before)
    seconds = turn.at - before.at if before is not None else 0.0
    if _began_anew(gpu, then):
        card = _upset(turn, card, Cause.DRIVER_RELOAD)
    card = heat.on_gpu(turn, card, gpu)
    if turn.pause is None or turn.at >= turn.pause.until:
        card = lower_power.on_gpu(turn, card, gpu, then)
        for lever in LEVERS:
            card = lever.on_gpu(turn, card, gpu)
    return throttle.on_gpu(turn, card, gpu, then, seconds)


def _look_of(uuid: str, gpus: Gpus | None) -> Gpu | None:
    seen = gpus.gpus if gpus is not None else ()
    return next((gpu for gpu in seen if gpu.uuid == uuid and not gpu.lost), None)


def _began_anew(gpu: Gpu, before: Gpu | None) -> bool:
    """Tell whether the driver took the card up anew: its energy counts from there."""
    then = before.energy_joules if before is not None else None
    return gpu.energy_joules is not None and then is not None and gpu.energy_joules < then


def on_done(turn: Turn, done: GpuActionDone) -> None:
    """Hand the end of an action to whom it belongs; one that nobody waits for is old."""
    card = turn.cards.get(done.uuid)
    if card is None or not done.action_id:
        return
    for lever in LEVERS:
        if lever.setting(card).attempt.action_id == done.action_id:
            turn.put_card(lever.on_done(turn, card, done))
            return


def on_agent_started(turn: Turn, *, rebooted: bool) -> None:
    """Go on with what is remembered; a reboot makes every card well until it shows otherwise."""
    turn.started_at = turn.at
    for card in tuple(turn.cards.values()):
        if rebooted:
            card = ailments.recovered(turn, card, "the host was rebooted")
            card = changed(card, heat=Heat(), throttle=None)
        card = xids.waits_anew(_from_the_beginning(card), turn.at, rebooted=rebooted)
        turn.put_card(_upset(turn, card, Cause.START))


def _from_the_beginning(card: Card) -> Card:
    """Return the card with nothing under way: who had asked for it is gone."""
    card = changed(card, live=CardLive())
    for lever in LEVERS:
        card = lever.begin_anew(card)
    return _again(card)


def _again(card: Card) -> Card:
    for lever in LEVERS:
        card = lever.again(card)
    return card


def on_reload(turn: Turn) -> None:
    """Try anew what was given up, as the operator looked at it, and forget cards that are gone."""
    for card in tuple(turn.cards.values()):
        if card.lost_since and _is_listed_nowhere(turn, card):
            turn.drop_card(card.uuid)
            tell(turn, card, "forgotten", f"{named(card)} is gone, and is not waited for any more")
            continue
        turn.put_card(ailments.forgiven(turn, _again(card), "the operator reloaded the agent"))


def _is_listed_nowhere(turn: Turn, card: Card) -> bool:
    if turn.gpus is None or turn.gpus.driver.problem:
        return False
    return all(gpu.uuid != card.uuid for gpu in turn.gpus.gpus)


def limits_settled(turn: Turn, s: ServiceState) -> str:
    """Return what a start waits for until its cards' limits are settled, "" when it may start."""
    if not turn.policy.power.anything:
        return ""
    due = max(s.since, s.retry_at, turn.started_at)
    if turn.at - due >= GATE_SECONDS:
        return ""
    if turn.gpus is None:
        return A_LOOK
    for card in turn.cards.values():
        used = turn.gpus.used_by(turn.policy_of(s).settings.gpus)
        if not any(gpu.uuid == card.uuid for gpu in used):
            continue
        if any(lever.setting(card).state is LeverState.SETTING for lever in BEFORE_A_START):
            return f"waits until the limits of {named(card)} are set"
    return ""
