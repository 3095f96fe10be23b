# SPDX-License-Identifier: Apache-2.0
"""vLLM as far as a night needs it: what a start takes, how it ends, what its memory must hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agent.core.failures import EnginePhase, FailureClass
from agent.core.numbers import Numbers
from agent.core.settings import Recovery, Settings
from agent.core.vocabulary import UnitFacts

F, P = FailureClass, EnginePhase

DEFAULT_LEN = 32768
DEFAULT_SEQS = 256
DEFAULT_BATCHED = 8192
DEFAULT_UTILIZATION = 0.92
BROKEN_FLAG = "--no-such-flag"
"""An operator's mistake in extra_args: the engine refuses it at every start."""

TIMELINE = (
    (P.STARTING, 0.15),
    (P.LOADING, 0.40),
    (P.PROFILING, 0.10),
    (P.COMPILING, 0.15),
    (P.CAPTURING, 0.10),
    (P.WARMING_UP, 0.10),
)
"""The phases of a start and each one's share of its time; a download comes before the first load.

Memory is looked at, and fails, where vLLM looks: free memory and weights while loading, activations
and the KV cache while profiling, graphs while capturing, the sampler while warming up.
"""


@dataclass
class Needs:
    """What one model needs of its card. Sizes in GiB."""

    weights: float = 15.0
    activation: float = 1.5
    """Peak of the profile run at 8192 batched tokens, grows with them."""
    kv_per_1024_tokens: float = 0.125
    graphs: float = 0.6
    sampler_per_seq: float = 0.001
    mamba_blocks: int | None = None
    longest: int = 131072
    """max_position_embeddings of the model."""


@dataclass(frozen=True, slots=True)
class Doom:
    """How a start or a run ends.

    `person`: nobody but a person can help. `short_of_memory` are the settings that did not fit.
    """

    failure: FailureClass | None
    numbers: Numbers = field(default_factory=Numbers)
    person: bool = False
    status: int = 1
    result: str = "exit-code"
    short_of_memory: Settings | None = None


@dataclass
class Run:
    """One process of an engine."""

    service: str
    invocation: str
    settings: Settings
    unit: UnitFacts
    phase: EnginePhase = P.STARTING
    activity: int = 0
    holds: bool = False
    """Whether it has taken its part of the card."""
    ready: bool = False
    stuck: bool = False
    """Nothing moves any more, though nothing dies."""
    silent: bool = False
    """The front end answers late: neither /metrics nor a one-token request comes in time."""
    queued: bool = False
    """Tokens move, but a one-token request waits behind a long queue."""
    rate: float = 0.0
    _work: float = 0.0
    _since: float = 0.0

    def work(self, now: float) -> float:
        """Return the tokens made so far."""
        return self._work + (0.0 if self.stuck else self.rate * (now - self._since))

    def pace(self, now: float, rate: float) -> None:
        """Make tokens at another rate from now on."""
        self._work, self._since, self.rate = self.work(now), now, rate

    @property
    def alive(self) -> bool:
        """Whether it answers requests."""
        return self.ready and not self.stuck


def utilization_of(settings: Settings) -> float:
    return settings.gpu_memory_utilization or DEFAULT_UTILIZATION


def memory_doom(
    phase: EnginePhase, needs: Needs, settings: Settings, total: float, free: float
) -> tuple[FailureClass, Numbers] | None:
    """Return how the start ends in this phase for lack of memory; None when it goes on."""
    utilization = utilization_of(settings)
    wanted = utilization * total
    seqs = settings.max_num_seqs or DEFAULT_SEQS
    length = settings.max_model_len or min(DEFAULT_LEN, needs.longest)
    activation = needs.activation * (settings.max_num_batched_tokens or DEFAULT_BATCHED) / 8192
    kv = wanted - needs.weights - activation
    match phase:
        case P.LOADING:
            if free < wanted:
                return F.OOM_FREE_MEM_STARTUP, Numbers(
                    free_gib=round(free, 2),
                    total_gib=total,
                    utilization=utilization,
                    wanted_gib=round(wanted, 2),
                )
            if needs.weights > free:
                return F.OOM_WEIGHTS_LOAD, Numbers(total_gib=total, free_gib=0.05, tried_gib=0.2)
        case P.PROFILING:
            room = free - needs.weights
            if activation > room:
                return F.OOM_PROFILE, Numbers(tried_gib=round(activation, 2), total_gib=total)
            if kv <= 0:
                return F.OOM_KV_NONE, Numbers(available_kv_gib=round(kv, 2), total_gib=total)
            if needs.mamba_blocks is not None and seqs > needs.mamba_blocks:
                return F.MAMBA_BLOCKS_TOO_FEW, Numbers(
                    mamba_blocks=needs.mamba_blocks, max_num_seqs=seqs
                )
            needed = length / 1024 * needs.kv_per_1024_tokens
            if needed > kv:
                return F.OOM_KV_TOO_SMALL_FOR_MAXLEN, Numbers(
                    needed_kv_gib=round(needed, 2),
                    available_kv_gib=round(kv, 2),
                    estimated_max_model_len=int(kv / needs.kv_per_1024_tokens * 1024),
                    max_model_len=length,
                    total_gib=total,
                )
        case P.CAPTURING if not settings.enforce_eager:
            if needs.graphs > free - wanted:
                tried = round(needs.graphs - (free - wanted), 2)
                return F.OOM_GRAPH_CAPTURE, Numbers(tried_gib=tried, total_gib=total)
        case P.WARMING_UP:
            if seqs * needs.sampler_per_seq > free - wanted:
                return F.OOM_SAMPLER_WARMUP, Numbers(warmup_requests=seqs, total_gib=total)
        case _:
            return None
    return None


def settings_that_fit(
    needs: Needs, asked: Settings, recovery: Recovery, total: float, free: float
) -> Settings | None:
    """Return settings within the limits that start with so much free; None when there are none.

    As asked when that fits; else the highest utilization with everything else at its least.
    """
    least = _least(needs, asked, recovery)
    return _highest(needs, asked, least, recovery, total, free)


def length_that_fits(
    needs: Needs, asked: Settings, recovery: Recovery, total: float, free: float
) -> Settings | None:
    """The same with nothing but utilization and length to change: all that a KV cache which is too
    small for one request is answered with before the service is held."""
    shorter = replace(asked, max_model_len=_least(needs, asked, recovery).max_model_len)
    return _highest(needs, asked, shorter, recovery, total, free)


def _least(needs: Needs, asked: Settings, recovery: Recovery) -> Settings:
    seqs = min(asked.max_num_seqs or DEFAULT_SEQS, recovery.min_max_num_seqs)
    batched = asked.max_num_batched_tokens or DEFAULT_BATCHED
    length = asked.max_model_len or min(DEFAULT_LEN, needs.longest)
    return replace(
        asked,
        max_num_batched_tokens=min(batched, recovery.min_max_num_batched_tokens),
        max_num_seqs=seqs if needs.mamba_blocks is None else min(seqs, needs.mamba_blocks),
        max_model_len=min(length, recovery.min_max_model_len),
        enforce_eager=asked.enforce_eager or recovery.allow_enforce_eager,
    )


def _highest(
    needs: Needs, asked: Settings, least: Settings, recovery: Recovery, total: float, free: float
) -> Settings | None:

    def fits(settings: Settings) -> bool:
        return all(memory_doom(p, needs, settings, total, free) is None for p, _ in TIMELINE)

    if fits(asked):
        return asked
    floor = min(recovery.min_gpu_memory_utilization, utilization_of(asked))
    ceiling = max(recovery.max_gpu_memory_utilization, utilization_of(asked))
    for percent in range(int(ceiling * 100), int(floor * 100) - 1, -1):
        one = replace(least, gpu_memory_utilization=percent / 100)
        if fits(one):
            return one
    return None
