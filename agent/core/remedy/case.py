# SPDX-License-Identifier: Apache-2.0
"""A failure with its numbers, and the forms that its remedy may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from agent.core.diagnosis.numbers import Numbers
from agent.core.engine.defaults import (
    Device,
    default_batch,
    default_seqs,
    default_utilization,
    release_or_newest,
)
from agent.core.failures.classes import FailureClass
from agent.core.record import dataclass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Settings, Tunable

SHARED_MARGIN = 0.03
"""The share of a card that services on it leave free together: contexts come on top of theirs."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What was tried of one setting: the lowest value that was too high, the highest too low.

    `fits` is the highest that the memory free at the last refusal allowed. `shared`: somebody else
    held a part of the card then, which may end.
    """

    too_high: float | None = None
    too_low: float | None = None
    shared: bool = False
    fits: float | None = None


NO_BOUND = Bound()


@dataclass(frozen=True, slots=True)
class Case:
    """A failure of one run, with all that a remedy is chosen by."""

    failure: FailureClass
    numbers: Numbers
    """What vLLM printed in that run."""

    running: Settings
    """The settings that it ran with."""

    recovery: Recovery = field(default_factory=Recovery)
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    """What was tried of each setting and was too high or too low."""

    spent: int = 0
    """How many changes were already made for this class."""

    repeats: int = 1
    """How often it came within the last hour, this time included."""

    gap_seconds: float | None = None
    """How long after the end of our own previous run the failed one was started; None: there was
    none."""

    vllm_version: str | None = None
    gpu_name: str = ""
    """The card's, "" where nothing tells it."""

    host_memory: bool = False
    """The engine's memory is the host's own (a CPU, a GB10), where page cache counts as used."""

    neighbours: Mapping[str, float] = field(default_factory=dict)
    """Our other services on the same card with their gpu_memory_utilization."""

    room: float | None = None
    """The share of the card that no stranger holds; None when unknown."""

    kv_gib_before: float | None = None
    """What was left for the KV cache when these same settings last proved good."""

    advice: str = ""
    """What the log's own lines say to do."""

    switches: tuple[str, ...] = ()
    """What the log's own lines say to turn off."""

    place: str = ""
    """Where the exception was thrown."""

    again: bool = False
    """A start before this one ended at the same place in the same way."""

    served: bool = False
    """It was ready before it failed."""

    guessed: bool = False
    """Nothing tells which part of the run it was."""

    beyond_settings: bool = False
    """None of the settings that recovery may change helps."""

    @property
    def utilization(self) -> float:
        """The gpu_memory_utilization of the run: printed, asked, or vLLM's default."""
        if self.numbers.utilization is not None:
            return self.numbers.utilization
        if self.running.gpu_memory_utilization is not None:
            return self.running.gpu_memory_utilization
        return default_utilization(self.vllm_version)

    @property
    def ceiling(self) -> float:
        """The highest gpu_memory_utilization that limits, neighbours and strangers leave."""
        most = self.recovery.max_gpu_memory_utilization
        if self.room is None and not self.neighbours:
            return most
        room = 1.0 if self.room is None else self.room
        shared = SHARED_MARGIN if self.neighbours else 0.0
        return min(most, room - shared - sum(self.neighbours.values()))

    @property
    def max_model_len(self) -> int | None:
        """The length of the run: asked, or printed."""
        return self.running.max_model_len or self.numbers.max_model_len

    @property
    def max_num_seqs(self) -> int:
        """The sequences of the run: asked, printed, or vLLM's default."""
        printed = self.numbers.max_num_seqs or self.numbers.warmup_requests
        default = default_seqs(release_or_newest(self.vllm_version), self._device)
        return self.running.max_num_seqs or printed or default

    @property
    def max_num_batched_tokens(self) -> int:
        """The batch of the run: asked, printed, or vLLM's default for a server."""
        asked = self.running.max_num_batched_tokens or self.numbers.max_num_batched_tokens
        release = release_or_newest(self.vllm_version)
        return asked or default_batch(release, self._device, self.max_model_len)

    @property
    def _device(self) -> Device:
        return Device(self.numbers.total_gib or 0.0, self.gpu_name, unified=self.host_memory)

    def bound(self, setting: str) -> Bound:
        """Return what is known of a setting."""
        return self.bounds.get(setting, NO_BOUND)


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
    at_least_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Start again with the same settings after a time that the cause itself asks for."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Refetch:
    """Remove what is broken of the model, fetch that again, and start with the same settings."""

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


Remedy = Change | Retry | Wait | Refetch | StartOver | Hold
