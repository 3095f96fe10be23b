# SPDX-License-Identifier: Apache-2.0
"""vLLM as far as a night needs it: what a start takes, how it ends, what its memory must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Settings
from agent.core.state.unit import UnitFacts

F, P = FailureClass, EnginePhase

DEFAULT_LEN = 32768
DEFAULT_SEQS = 256
DEFAULT_BATCHED = 2048
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
    """Peak of the profile run at 2048 batched tokens; it grows with them, more slowly."""
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


NEVER_REACHED = "never reached"
LOCKED = "locked by a key from the start"
"""Shapes of services whose runs are all `unreached`, or refuse each request."""


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
    unreached: bool = False
    """A drop-in has it listen elsewhere, or speak TLS: no request of llmagent's ever reaches it."""
    queued: bool = False
    """Tokens move, but a one-token request waits behind a long queue."""
    refuses: str = ""
    """Why its front end lets no request through, although the engine is well."""
    asleep: bool = False
    """Its memory is given back, until somebody wakes it."""
    half_stuck: bool = False
    """One of its two engines does not move any more, though the other one does."""
    hung_label: str = "0"
    """Which of them that is."""
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
    def moves(self) -> bool:
        """Whether all of it moves, or starts: nobody has a reason to end it."""
        return not self.stuck and not self.half_stuck

    @property
    def deaf(self) -> bool:
        """Whether no request gets an answer, however well it is."""
        return self.silent or self.unreached

    @property
    def works(self) -> bool:
        """Whether the verification sees it do its work."""
        return not self.unreached and (self.alive or self.half_stuck)

    @property
    def alive(self) -> bool:
        """Whether it answers requests."""
        return self.ready and self.moves


def utilization_of(settings: Settings) -> float:
    return settings.gpu_memory_utilization or DEFAULT_UTILIZATION


def graphs_of(needs: Needs, settings: Settings) -> float:
    """Return the GiB of CUDA graphs: less for fewer sizes, none without them."""
    if settings.enforce_eager:
        return 0.0
    most = min(512, 2 * (settings.max_num_seqs or DEFAULT_SEQS))
    largest = settings.max_cudagraph_capture_size or most
    return needs.graphs * (0.3 + 0.7 * largest / most)


def memory_doom(
    phase: EnginePhase, needs: Needs, settings: Settings, total: float, free: float
) -> tuple[FailureClass, Numbers] | None:
    """Return how the start ends in this phase for lack of memory; None when it goes on."""
    utilization = utilization_of(settings)
    wanted = utilization * total
    seqs = settings.max_num_seqs or DEFAULT_SEQS
    length = settings.max_model_len or min(DEFAULT_LEN, needs.longest)
    batched = settings.max_num_batched_tokens or DEFAULT_BATCHED
    activation = needs.activation * (0.75 + 0.25 * batched / DEFAULT_BATCHED)
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
            if graphs_of(needs, settings) > free - wanted:
                tried = round(graphs_of(needs, settings) - (free - wanted), 2)
                return F.OOM_GRAPH_CAPTURE, Numbers(tried_gib=tried, total_gib=total)
        case P.WARMING_UP:
            if seqs * needs.sampler_per_seq > free - wanted:
                return F.OOM_SAMPLER_WARMUP, Numbers(warmup_requests=seqs, total_gib=total)
        case _:
            return None
    return None


LEVERS: Mapping[FailureClass, frozenset[str]] = {
    F.OOM_KV_NONE: frozenset({"utilization", "batch", "seqs"}),
    F.OOM_KV_TOO_SMALL_FOR_MAXLEN: frozenset({"utilization", "length"}),
    F.MAMBA_BLOCKS_TOO_FEW: frozenset({"seqs"}),
    F.OOM_WEIGHTS_LOAD: frozenset(),
    F.OOM_PROFILE: frozenset({"batch", "seqs"}),
    F.OOM_SAMPLER_WARMUP: frozenset({"seqs", "utilization"}),
    F.OOM_GRAPH_CAPTURE: frozenset({"utilization", "graphs"}),
    F.OOM_FREE_MEM_STARTUP: frozenset({"utilization"}),
}
"""What a class may be answered with before the service is held: the manual's table of remedies."""

ALL_LEVERS = frozenset({"utilization", "batch", "seqs", "length", "graphs"})


def settings_that_fit(
    needs: Needs,
    asked: Settings,
    recovery: Recovery,
    total: float,
    free: float,
    levers: frozenset[str] = ALL_LEVERS,
) -> Settings | None:
    """Return settings within the limits that start with so much free; None when there are none.

    As asked when that fits; else the highest utilization with everything else at its least.
    """

    def fits(settings: Settings) -> bool:
        return all(memory_doom(p, needs, settings, total, free) is None for p, _ in TIMELINE)

    if fits(asked):
        return asked
    least = _least(needs, asked, recovery, levers)
    if "utilization" not in levers:
        return least if fits(least) else None
    floor = min(recovery.min_gpu_memory_utilization, utilization_of(asked))
    ceiling = max(recovery.max_gpu_memory_utilization, utilization_of(asked))
    for percent in range(round(ceiling * 100), round(floor * 100) - 1, -1):
        one = replace(least, gpu_memory_utilization=percent / 100)
        if fits(one):
            return one
    return None


def _least(needs: Needs, asked: Settings, recovery: Recovery, levers: frozenset[str]) -> Settings:
    least = asked
    if "seqs" in levers:
        seqs = min(asked.max_num_seqs or DEFAULT_SEQS, recovery.min_max_num_seqs)
        least = replace(least, max_num_seqs=seqs)
    if "batch" in levers:
        batched = asked.max_num_batched_tokens or DEFAULT_BATCHED
        batched = min(batched, recovery.min_max_num_batched_tokens)
        least = replace(least, max_num_batched_tokens=batched)
    if "length" in levers:
        length = asked.max_model_len or min(DEFAULT_LEN, needs.longest)
        least = replace(least, max_model_len=min(length, recovery.min_max_model_len))
    if "graphs" in levers and recovery.allow_enforce_eager:
        least = replace(least, enforce_eager=True)
    return least
