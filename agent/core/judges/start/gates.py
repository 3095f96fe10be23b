# SPDX-License-Identifier: Apache-2.0
"""What a start that is due waits for, each as a function of what is known now.

A gate returns why the service waits, or "" when it may start. It is asked again at each
observation, so a service goes on by itself as soon as the reason is gone.
"""

from __future__ import annotations

from agent.core.judges.cards.looks import A_LOOK
from agent.core.judges.holders.processes import holders, known, share_a_card
from agent.core.judges.start.leftovers import blocking_leftovers
from agent.core.judges.turn import Turn
from agent.core.remedy.backoff import end_of_budget
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState

NEEDS_THE_GPU_ALONE = frozenset({Phase.STARTING, Phase.VERIFYING})

LOOK_SECONDS = 3.0
"""A start waits at most this long for a look at the GPUs that is newer than the last run's end."""

STALE_SECONDS = 10.0
"""A look older than this says that NVML hangs: nobody waits for the next one."""


GIVE_BACK_SECONDS = 60.0
"""The driver takes back a dead process's memory within seconds; after this a start may try."""


def budget_of_the_hour(turn: Turn, s: ServiceState) -> str:
    """Bound the starts of an hour, whatever it was that made this one due.

    What runs is only restarted because a person asked for it, or for the one trial of a night.
    """
    recovery, unit = turn.policy_of(s).recovery, s.live.unit
    if unit is not None and unit.running:
        return ""
    if turn.at >= end_of_budget(s.recent_starts, recovery.max_starts_per_hour, turn.at):
        return ""
    most = recovery.max_starts_per_hour
    return f"waits: it was started {most} times within the hour, as often as recovery allows"


def no_other_start_on_its_gpus(turn: Turn, s: ServiceState) -> str:
    """Let one service at a time take its share of a card: each measures what is free."""
    mine = turn.policy_of(s).settings
    for other in turn.services.values():
        if (
            other.phase in NEEDS_THE_GPU_ALONE
            and other.name != s.name
            and other.name in turn.policy.services
            and share_a_card(turn.gpus, mine, turn.policy_of(other).settings)
        ):
            return f"waits until {other.name}, which starts on the same GPU, serves"
    for name, settings in turn.may_start.items():
        if share_a_card(turn.gpus, mine, settings):
            return f"waits: {name}, about which llmagent cannot decide, may start on the same GPU"
    return ""


def no_leftovers(turn: Turn, s: ServiceState) -> str:
    """Wait for processes that are left in the unit's own control group; they are killed."""
    return blocking_leftovers(turn, s)


def memory_given_back(turn: Turn, s: ServiceState) -> str:
    """Wait until the last run's memory is released: the next one would find too little free."""
    unit, gpus, down_at = s.live.unit, known(turn.gpus), s.live.down_at
    if gpus is None or unit is None or unit.running or not down_at:
        return ""
    waited = turn.at - down_at
    if waited >= GIVE_BACK_SECONDS or turn.at - gpus.at > STALE_SECONDS:
        return ""
    if gpus.at <= down_at:
        return "" if waited >= LOOK_SECONDS else A_LOOK
    settings = turn.policy_of(s).settings
    for holder in holders(gpus, settings):
        if holder.unit in settings.units or (not holder.unit and holder.pid in s.live.gpu_pids):
            return f"waits until process {holder.pid} of the previous run gives back {holder.what}"
    return ""
