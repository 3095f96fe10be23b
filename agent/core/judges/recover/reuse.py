# SPDX-License-Identifier: Apache-2.0
"""`recovery.reuse_profile`: a start takes the KV cache's size that an earlier start measured.

vLLM measures what is left for the KV cache by a trial run at every start. With
`kv_cache_memory_bytes` it does not, and says "reserved ... as specified" (0.10.2..0.33). The value
is what the start printed that proved good, so weights, CUDA graphs and all else find the room that
they had then. vLLM's own startup plan is not used for it: its fingerprint leaves
gpu_memory_utilization out, and it takes the graphs off twice (RUN 0.32).
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.engine.install import release_of
from agent.core.failures.classes import FailureClass, Group
from agent.core.failures.meaning import group_of
from agent.core.judges.holders.shares import gpus_of, in_host_memory
from agent.core.judges.turn import Turn
from agent.core.measures import GIB
from agent.core.remedy.kv_bytes import NAME, ROUND_BYTES
from agent.core.state.learned import Override
from agent.core.state.service import ServiceState

KNOWN_SINCE = (0, 10, 2)
"""The first release that takes kv_cache_memory_bytes."""

PRINTED_GIB = 0.005
"""vLLM prints GiB with two decimals: this much less may have been there."""

MAY_BE_ITS_FAULT = frozenset({Group.MEMORY, Group.CONFIGURATION})
"""Failures after which a measured size is not used again."""


def with_profile(turn: Turn, s: ServiceState) -> ServiceState:
    """Return the service with what its next start need not measure, or without what it must."""
    override = s.learned.overrides.get(NAME)
    if not turn.policy_of(s).recovery.reuse_profile or s.group is not None:
        # What one rank leaves for the cache says nothing of the others, and flags must be alike.
        return _without(s) if override is not None and override.measured else s
    size = None if override is not None or s.learned.profile_refused else _measured(turn, s)
    if size is None:
        return s
    why = (
        f"reuse_profile: {size / GIB:.2f} GiB of the memory that a start which served left for "
        "the KV cache"
    )
    measured = Override(None, size, turn.at, why, measured=True)
    turn.tell(s.name, "measured", f"{NAME} = {size} from now on: {why}")
    learned = replace(s.learned, overrides={**s.learned.overrides, NAME: measured})
    return replace(s, learned=learned)


def _measured(turn: Turn, s: ServiceState) -> int | None:
    """Return the bytes that the last good start of the very same measured; None: there is none."""
    proven, good, settings = s.proven, s.last_good, turn.effective(s)
    if proven is None or good is None or settings.kv_cache_memory_bytes is not None:
        return None
    version, gpus = turn.policy.engines[s.name].version, gpus_of(turn, s)
    same = proven.settings == settings == good.settings and proven.version == version
    if not same or release_of(version or "") < KNOWN_SINCE or not gpus:
        return None
    sizes = [gpu.memory.usable_bytes / GIB for gpu in gpus if gpu.memory is not None]
    if in_host_memory(turn, s) or len(sizes) != len(gpus) or min(sizes) != proven.gpu_memory_gib:
        return None
    if gpus[0].name != proven.gpu_name or proven.least_kv_gib is None:
        return None
    size = int((proven.least_kv_gib - PRINTED_GIB) * GIB) // ROUND_BYTES * ROUND_BYTES
    recovery = turn.policy_of(s).recovery
    low, high = recovery.min_kv_cache_memory_bytes, recovery.max_kv_cache_memory_bytes
    return size if low <= size <= high else None


def after_failure(turn: Turn, s: ServiceState, failure: FailureClass) -> ServiceState | None:
    """Return the service as it measures again, after a failure that a measured size may explain."""
    override = s.learned.overrides.get(NAME)
    if override is None or not override.measured or group_of(failure) not in MAY_BE_ITS_FAULT:
        return None
    why = f"{NAME} {override.running}, measured at an earlier start, is dropped: measure again"
    turn.tell(s.name, "forgotten", f"{failure.value}: {why}")
    s = _without(s)
    return replace(s, learned=replace(s.learned, profile_refused=why))


def _without(s: ServiceState) -> ServiceState:
    others = {name: item for name, item in s.learned.overrides.items() if name != NAME}
    return replace(s, learned=replace(s.learned, overrides=others))
