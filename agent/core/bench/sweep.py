# SPDX-License-Identifier: Apache-2.0
"""A sweep over settings: which trials there are, and what the results say one should set."""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.bench.measure import Point, knee
from agent.core.record import dataclass
from agent.core.settings.service import Settings

SEQS = (8, 16, 32, 64, 128)
UTILIZATIONS = (0.80, 0.85, 0.90, 0.93, 0.95)
ENOUGH_TOKENS_GAIN = 0.02
"""Utilization only buys KV cache: a smaller one that is this close in throughput leaves room."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One start with other settings; `batch` requests at once are asked of it."""

    setting: str
    value: int | float
    batch: int

    def of(self, settings: Settings) -> Settings:
        """Return the settings of this trial."""
        return settings.with_overrides({self.setting: self.value})


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What came of a trial: a measurement, or why the service did not come up."""

    trial: Trial
    point: Point | None
    why: str = ""

    @property
    def rate(self) -> float:
        """Tokens a second, 0 where nothing was measured."""
        return self.point.output_tokens_per_second if self.point and self.point.worked else 0.0


def trials(
    settings: Settings, seqs: Sequence[int], utilizations: Sequence[float]
) -> tuple[Trial, ...]:
    """Return the trials, each setting in rising order and by itself."""
    batch = settings.max_num_seqs or max(seqs, default=SEQS[-1])
    return (
        *(Trial("max_num_seqs", value, value) for value in sorted(seqs)),
        *(Trial("gpu_memory_utilization", value, batch) for value in sorted(utilizations)),
    )


def found(outcomes: Sequence[TrialOutcome]) -> dict[str, int | float]:
    """Return what one should set: the knee of each setting that was tried."""
    best: dict[str, int | float] = {}
    seqs = [(int(o.trial.value), o.rate) for o in outcomes if _is_good(o, "max_num_seqs")]
    if (at := knee(seqs)) is not None:
        best["max_num_seqs"] = at
    shares = [o for o in outcomes if _is_good(o, "gpu_memory_utilization")]
    if shares:
        most = max(o.rate for o in shares)
        enough = next(o for o in shares if o.rate >= most * (1 - ENOUGH_TOKENS_GAIN))
        best["gpu_memory_utilization"] = enough.trial.value
    return best


def _is_good(outcome: TrialOutcome, setting: str) -> bool:
    return outcome.trial.setting == setting and outcome.rate > 0
