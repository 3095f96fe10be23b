# SPDX-License-Identifier: Apache-2.0
"""What experience with a configuration leaves behind: learned values, trials, what proved good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType

from agent.core.failures.classes import FailureClass
from agent.core.planner.question import Fit
from agent.core.record import dataclass
from agent.core.remedy.case import Bound
from agent.core.settings.service import Expectations, Settings, Tunable
from agent.core.stages.stage import Stage


@dataclass(frozen=True, slots=True)
class Override:
    """A learned setting: runs instead of the configured value."""

    asked: Tunable | None
    running: Tunable
    since: float
    why: str
    measured: bool = False
    """A good start printed the value, no failure taught it; it says what is so, and no more."""


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


NO_OVERRIDES: Mapping[str, Override] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Learned:
    """What failures and trials have taught of one configuration on one host.

    `Learned()` knows nothing: to forget all of it is to put that in its place.
    """

    learned_for: Mapping[str, str] = field(default_factory=dict)
    """What all of it depends on: the model, the vLLM version, the GPUs, the settings."""

    overrides: Mapping[str, Override] = field(default_factory=lambda: NO_OVERRIDES)
    """The settings that run in place of the configured ones."""

    bounds: Mapping[str, Bound] = field(default_factory=dict)
    """By setting: which values were too high and which too low."""

    probes: Mapping[str, NightTrial] = field(default_factory=dict)
    """By setting: the last trial to undo an override."""

    spent: Mapping[FailureClass, int] = field(default_factory=dict)
    """The changes made for each failure class since the service last settled."""

    attempts: int = 0
    """Starts without a change since the service last settled."""

    start_stage_seconds: tuple[Mapping[Stage, float], ...] = ()
    """The last starts that ended well, in seconds by stage, oldest first."""

    profile_refused: str = ""
    """Why a measured size of the KV cache is not used again; "" while it may be."""

    refetch: str = ""
    """Why the model's files must be mended before the next start; "" when they need not."""

    def unmeasured(self, settings: Settings) -> Settings:
        """Return what runs without what a good start has measured, so that vLLM measures it."""
        asked = {name: o.asked for name, o in self.overrides.items() if o.measured}
        return replace(settings, **asked) if asked else settings  # type: ignore[arg-type]

    def with_spent(self, failure: FailureClass) -> Learned:
        """Return it with one more change made for the class."""
        return replace(self, spent={**self.spent, failure: self.spent.get(failure, 0) + 1})

    def with_attempt(self) -> Learned:
        """Return it with one more start that came to nothing."""
        return replace(self, attempts=self.attempts + 1)

    def with_tries_forgotten(self) -> Learned:
        """Return the settings that were learned, with all tries and changes to be made anew."""
        return replace(self, attempts=0, spent={})


NOTHING_LEARNED = Learned()


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
    """What vLLM printed of settings that serve, in GiB of one GPU; None where it did not.

    `version`, `gpu_name` and `gpu_memory_gib` are what they ran on, `at` is when, in Unix time.
    """

    settings: Settings
    weights_gib: float | None = None
    available_kv_gib: float | None = None
    least_kv_gib: float | None = None
    """The same of the GPU that had least."""

    cuda_graph_gib: float | None = None
    compiled_graphs: str = ""
    """In the words of the fact: "compiled", "from the cache"; "" where it was not told."""

    version: str | None = None
    gpu_name: str = ""
    gpu_memory_gib: float | None = None
    at: float = 0.0
