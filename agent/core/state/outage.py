# SPDX-License-Identifier: Apache-2.0
"""A time without service, by what it was spent on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

from agent.core.record import dataclass
from agent.core.state.phases import Phase

STEPS: Mapping[Phase, str] = {
    Phase.EXAMINING: "decide",
    Phase.STOPPING: "stop",
    Phase.WAITING: "wait",
    Phase.FETCHING: "fetch",
    Phase.STARTING: "start",
    Phase.VERIFYING: "verify",
    Phase.HELD: "held",
}
"""What each phase of an incident is spent on; a service that the operator stopped has none."""

DETECT = "detect"
"""From the last sign of life of an engine that hangs, or from its front end's word that it is gone,
to the end of the run."""

CLEAR = "clear-memory"
"""In place of "wait" where memory or processes of the last run were still there."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Since when nothing was served, in agent time, and the seconds of each step so far."""

    since: float
    step_seconds: Mapping[str, float] = field(default_factory=dict)

    def with_step(self, step: str, seconds: float) -> Outage:
        """Return it with that much more spent on a step."""
        spent = self.step_seconds.get(step, 0.0) + seconds
        return replace(self, step_seconds={**self.step_seconds, step: spent})


def after_phase(
    outage: Outage | None,
    old: Phase,
    new: Phase,
    seconds: float,
    at: float,
    *,
    cleared: bool,
    gone_at: float,
) -> Outage | None:
    """Return what is known once a service leaves the phase `old`, in which it was for `seconds`.

    `cleared`: it waited for what the last run had left. `gone_at`: since when the engine of a run
    that ends is known to be gone, 0.0 where that was not said.
    """
    if new is Phase.STOPPED:
        return None
    if outage is None:
        if old is not Phase.SERVING or new is Phase.SERVING:
            return None
        return Outage(gone_at).with_step(DETECT, at - gone_at) if gone_at else Outage(at)
    step = CLEAR if cleared and old is Phase.WAITING else STEPS.get(old)
    return outage if step is None else outage.with_step(step, seconds)
