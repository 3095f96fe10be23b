# SPDX-License-Identifier: Apache-2.0
"""A failure with its numbers, and the forms that its remedy may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.core.failures import FailureClass
from agent.core.numbers import Numbers
from agent.core.settings import Recovery, Settings, Tunable


@dataclass(frozen=True, slots=True)
class Bound:
    """What was tried of one setting: the lowest value that was too high, the highest too low.

    `shared`: it was too high because somebody else held a part of the card, which may end.
    """

    too_high: float | None = None
    too_low: float | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A failure of a run with the settings `running`.

    `host_memory`: the engine runs in the host's own memory, where page cache counts as used.
    `spent` counts the changes already made for this class, `gap_seconds` is how long after the
    end of our own previous run the failed one was started (None: there was none).
    """

    failure: FailureClass
    numbers: Numbers
    running: Settings
    recovery: Recovery = field(default_factory=Recovery)
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    spent: int = 0
    gap_seconds: float | None = None
    vllm_version: str | None = None
    host_memory: bool = False

    @property
    def utilization(self) -> float:
        """The gpu_memory_utilization of the run: printed, asked, or vLLM's default."""
        if self.numbers.utilization is not None:
            return self.numbers.utilization
        if self.running.gpu_memory_utilization is not None:
            return self.running.gpu_memory_utilization
        return default_utilization(self.vllm_version)


@dataclass(frozen=True, slots=True)
class Change:
    """Start again with one setting changed."""

    setting: str
    value: Tunable
    why: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Start again with the same settings, after the back-off that the attempts so far ask for."""

    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Start again with the same settings after a time that the cause itself asks for."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class StartOver:
    """Forget what was learned and start as configured, after the back-off."""

    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing but a person can help."""

    why: str
    what_to_do: str


Remedy = Change | Retry | Wait | StartOver | Hold


def default_utilization(vllm_version: str | None) -> float:
    """Return the gpu_memory_utilization that vLLM takes unasked: 0.9 up to 0.19, then 0.92."""
    parts = (vllm_version or "").split(".")
    if len(parts) >= 2 and parts[0] == "0" and parts[1].isdigit() and int(parts[1]) < 20:
        return 0.9
    return 0.92
