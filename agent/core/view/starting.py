# SPDX-License-Identifier: Apache-2.0
"""What a start that is under way is about, for how long, and for how long usually."""

from __future__ import annotations

from agent.core.record import dataclass
from agent.core.stages.stage import SAID
from agent.core.stages.told import usual
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState


@dataclass(frozen=True, slots=True)
class StageView:
    """A stage of a start: its name, what vLLM does in it, since when, and how long it takes.

    `usual_seconds` is the median of earlier starts with the same settings; None before the first.
    """

    name: str
    doing: str
    since_seconds: float
    usual_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AheadView:
    """What of the files that a start reads was read into memory before one, and when.

    `resident_ratio` of `size_bytes` was in memory, `read_bytes` were read; `stopped` says why not
    all of the rest was, "" where it was.
    """

    at_seconds: float
    files: int
    size_bytes: int
    resident_ratio: float
    read_bytes: int
    stopped: str


def ahead_of(s: ServiceState, ahead_seconds: float) -> AheadView | None:
    """Return what was read ahead last, None where nothing ever was; the time as `stage_of`."""
    read, at = s.ahead.read, s.ahead.read_at + ahead_seconds
    if read is None:
        return None
    share = round(read.resident_share, 4)
    return AheadView(at, read.files, read.size_bytes, share, read.read_bytes, read.stopped)


def stage_of(s: ServiceState, ahead_seconds: float) -> StageView | None:
    """Return the stage of the present start, None while none is under way or its log is silent.

    `ahead_seconds` is what the wall clock is ahead of agent time.
    """
    now = s.live.stages.now
    if s.phase is not Phase.STARTING or now is None or _is_ray_alone(s):
        return None
    usually = usual(s.learned.start_stage_seconds).get(now)
    return StageView(now.value, SAID[now], s.live.stage_at + ahead_seconds, usually)


def _is_ray_alone(s: ServiceState) -> bool:
    """Tell whether Ray is all that runs: vLLM's stages are then on the head."""
    cluster = None if s.running is None else s.running.cluster
    return cluster is not None and cluster.ray_port is not None and cluster.headless
