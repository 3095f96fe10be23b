# SPDX-License-Identifier: Apache-2.0
"""Removes compiled code that no engine here will use again: within a budget, once a day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.core.stages.caches import BUDGET_BYTES, Compiled, Pruned, not_used_again
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.core.unit.environment import environment_of
from agent.host.machine.compiled import compiled
from agent.host.systemd.transient import TransientError, run_transient

REMOVE_SECONDS = 60.0


def prune(state: HostState, budget_bytes: int = BUDGET_BYTES) -> Iterator[Pruned]:
    """Give what was removed; nothing is looked at while a service does anything but serve."""
    if any(s.phase is not Phase.SERVING for s in state.services.values()):
        return
    for name, s in state.services.items():
        if not s.settled or s.running is None or not s.started_at:
            continue
        root = Path(environment_of(s.running)["VLLM_CACHE_ROOT"])
        chosen = list(not_used_again(compiled(root), s.started_at, budget_bytes))
        if chosen and _removed(chosen):
            yield Pruned(name, len(chosen), sum(one.size_bytes for one in chosen))


def _removed(chosen: list[Compiled]) -> bool:
    """Remove them as the owner of the cache, who can reach nothing else; False when it failed."""
    try:
        argv = ["/bin/rm", "-rf", "--", *(one.path for one in chosen)]
        run_transient(argv, Path(chosen[0].path).parent.stat().st_uid, REMOVE_SECONDS)
    except (OSError, TransientError):
        return False
    return not any(Path(one.path).exists() for one in chosen)
