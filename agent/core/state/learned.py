# SPDX-License-Identifier: Apache-2.0
"""What experience with a configuration leaves behind: learned values, trials, what proved good."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.core.planner.question import Fit
from agent.core.settings.service import Expectations, Settings, Tunable


@dataclass(frozen=True, slots=True)
class Override:
    """A learned setting: runs instead of the configured value."""

    asked: Tunable | None
    running: Tunable
    since: float
    why: str


@dataclass(frozen=True, slots=True)
class NightTrial:
    """A trial of a learned setting nearer to what was asked.

    `before` is what was learned, `value` what is tried (None: what was asked, unchanged); `over`
    once it has settled or failed; it is not tried again before `not_before`.
    """

    before: Override
    value: Tunable | None
    at: float
    over: bool = False
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class LastGood:
    """The last settings that served until they had settled.

    `configured` is what agent.toml said then, `settings` what ran, learned values included;
    `kv_gib` is what they left for the KV cache, where the log said it.
    """

    configured: Settings
    settings: Settings
    expect: Expectations = field(default_factory=Expectations)
    kv_gib: float | None = None


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The last good settings run in place of agent.toml's, which failed for good: `why`."""

    at: float
    why: str
    settings: Settings
    expect: Expectations = field(default_factory=Expectations)

    @property
    def note(self) -> str:
        """The sentence that status and the unit's comment show."""
        return f"The last known good settings run, not those of agent.toml: {self.why}"


@dataclass(frozen=True, slots=True)
class Planned:
    """What the planner said of settings before their first start."""

    settings: Settings
    verdict: Fit
    reason: str
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proven:
    """What vLLM printed of settings that serve, in GiB of one GPU; None where it did not."""

    settings: Settings
    weights_gib: float | None = None
    available_kv_gib: float | None = None
    cuda_graph_gib: float | None = None
