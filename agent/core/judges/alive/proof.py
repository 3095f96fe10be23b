# SPDX-License-Identifier: Apache-2.0
"""How much proves that an engine hangs: tokens that stand still, and requests that fail.

One step may take minutes, so that processors at work are a reason to wait. They are none where the
ranks are on several hosts and one of these is cut off: what waits for it in NCCL or gloo spins, and
a step that needs all ranks cannot end. The proof of that is the kernel's: what was sent to that
host is not acknowledged. The host of a peer whose agent alone is away acknowledges.
"""

from __future__ import annotations

from agent.core.cluster.group import AWAY_SECONDS
from agent.core.failures.classes import FailureClass
from agent.core.judges.alive.activity import Activity, activity
from agent.core.judges.alive.killing import kill
from agent.core.judges.turn import Turn
from agent.core.state.service import ServiceState

MISSES_IN_A_ROW = 2
"""Failed one-token requests in a row that make an engine a hung one; amid work one is enough when
its processors are seen to do nothing."""

MISSES_WHEN_UNSEEN = 3
"""The same when /metrics was silent too: an overloaded front end answers late, but it answers, so
each of these requests gets twice the time of the one before."""

STEP_PATIENCE = 5.0
"""An engine with work that computes may give no token for this many times hang_seconds: by default
ten minutes, twice what vLLM itself allows one step of several GPUs
(VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS = 300)."""

PATIENCE_WHEN_AWAY = 2.5
"""The same while the llmagent of another host with ranks of it is away, so that nothing tells
whether these live: what vLLM itself allows one step, and no more."""


def is_proven(turn: Turn, s: ServiceState, misses: int, needed: int, still: float) -> bool:
    """Tell whether an engine that gave no token for `still` seconds hangs."""
    patience = turn.policy_of(s).recovery.hang_seconds
    if activity(turn, s) is Activity.SOME:
        patience *= _patience_with_work(turn, s)
    return misses >= needed and still >= patience


def _patience_with_work(turn: Turn, s: ServiceState) -> float:
    if _cut_off(turn, s):
        return 1.0
    away = s.group is not None and s.group.live.misses_somebody(turn.at, AWAY_SECONDS)
    return PATIENCE_WHEN_AWAY if away else STEP_PATIENCE


def misses_that_prove(turn: Turn, s: ServiceState) -> int:
    """Return how many requests in a row must fail."""
    if s.live.counters_at < s.live.canary_at:
        return MISSES_WHEN_UNSEEN
    # The request itself shows as work of an idle engine, so what was there before it counts.
    return misses_of(turn, s, amid_work=s.live.canary_amid_work)


def misses_of(turn: Turn, s: ServiceState, *, amid_work: bool) -> int:
    """Return the same for an engine whose counters were seen meanwhile."""
    quiet = activity(turn, s) is Activity.NONE
    return 1 if amid_work and quiet else MISSES_IN_A_ROW


def kill_hung(
    turn: Turn, s: ServiceState, still: float, detail: str, label: str = ""
) -> ServiceState:
    """End an engine that is proven to hang; `label` is which of several it is."""
    why = f"no token for {still:.0f} s and a one-token request failed ({detail})"
    why = f"engine {label}: {why}" if label else why
    address = _cut_off(turn, s)
    if address and s.group is not None:
        from agent.core.cluster.judge import name_of  # for who serves with other hosts: memory

        live = s.group.live
        seen = live.peers[address]
        away = turn.at - max(seen.at, live.since)
        who = f"{name_of(address, seen)} cannot be reached for {away:.0f} s"
        return kill(turn, s, FailureClass.PEER_LOST, f"{who}; {why}")
    return kill(turn, s, FailureClass.ENGINE_HUNG, f"{why}; {activity(turn, s).value}")


def _cut_off(turn: Turn, s: ServiceState) -> str:
    """Return the address of a host that has ranks of this run and is cut off, "" for none."""
    return "" if s.group is None else s.group.live.cut_off(turn.at)
