# SPDX-License-Identifier: Apache-2.0
"""What can happen in a night, and nights drawn from a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.core.failures.classes import EnginePhase, FailureClass, Group, Kind
from agent.core.failures.meaning import NEVER_A_FAILURE, group_of, kind_of
from agent.core.remedy.propose import NEVER_HELD

F, P = FailureClass, EnginePhase
HOUR = 3600.0
NIGHT = 12 * HOUR
FOR_EVER = math.inf


class What(StrEnum):
    """The kinds of things that happen; availability is printed for each."""

    DIES = "dies, a new start cures it"
    LASTS = "fails until its cause is over"
    PERSON = "fails until a person mends it"
    NEIGHBOUR = "a neighbour takes memory"
    GROWS = "the model needs more memory"
    RUNTIME_PEAK = "memory runs out while serving"
    HANGS = "hangs while serving"
    HANGS_AT_READY = "hangs when it is ready"
    STALLS = "stalls while it starts"
    GPU_LOST = "the GPU is lost until a reboot"
    SLOW_RELEASE = "memory of the dead is released late"
    BUSY = "busy, nothing is wrong"
    BAD_EDIT = "an edit that vLLM refuses"
    EDIT = "an edit, nothing is wrong"
    REFUSED_EDIT = "an edit that llmagent refuses"
    STOP = "the operator stops and starts it"
    RESTART = "the operator restarts it"
    TAKEN_OVER = "the operator takes the unit over"
    REBOOT = "the host reboots"
    MISMATCH = "runs, but not as asked"
    AGENT_KILLED = "kill -9 of the agent"
    AGENT_KILLED_ACTING = "kill -9 between record and action"
    ACTION_LOST = "an action is lost"
    JOURNAL_GONE = "the journal is gone"
    STALE_NEWS = "stale news"
    PAUSED = "the operator has llmagent leave it alone"
    PLANNED = "the operator asks llmagent for a restart"


STEERED = frozenset({What.PAUSED, What.PLANNED})
"""Drawn only for nights that an operator steers: the others stay as they are."""
DRAWN = tuple(what for what in What if what not in STEERED)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens, `at` seconds into the night, and stays for `seconds`.

    `how` is the mend of a PERSON ("reload", "start"), the field that GROWS, the phase that STALLS,
    the part that HANGS, or the way to be BUSY; `size` its GiB, factor or count.
    """

    at: float
    what: What
    service: str
    failure: FailureClass | None = None
    seconds: float = 0.0
    how: str = ""
    size: float = 0.0

    def as_python(self) -> str:
        """Return the fault as it is written in a test."""
        failure = "" if self.failure is None else f"FailureClass.{self.failure.name}"
        seconds = "FOR_EVER" if math.isinf(self.seconds) else f"{self.seconds:.6g}"
        said = {
            "failure": failure,
            "seconds": seconds if self.seconds else "",
            "how": f'"{self.how}"' if self.how else "",
            "size": repr(self.size) if self.size else "",
        }
        rest = "".join(f", {name}={text}" for name, text in said.items() if text)
        return f'Fault({self.at!r}, What.{self.what.name}, "{self.service}"{rest})'


GROWTH: Mapping[FailureClass, tuple[str, float, float]] = {
    F.OOM_KV_NONE: ("weights", 1.30, 1.47),
    F.OOM_WEIGHTS_LOAD: ("weights", 1.8, 2.5),
    F.OOM_PROFILE: ("activation", 3.0, 7.0),
    F.OOM_KV_TOO_SMALL_FOR_MAXLEN: ("kv_per_1024_tokens", 2.0, 6.0),
    F.OOM_GRAPH_CAPTURE: ("graphs", 2.0, 5.0),
    F.OOM_SAMPLER_WARMUP: ("sampler_per_seq", 4.0, 40.0),
    F.MAMBA_BLOCKS_TOO_FEW: ("mamba_blocks", 8.0, 200.0),
}
"""What changes so that the class follows by vLLM's own arithmetic: a field of Needs, by a factor
between two (for mamba_blocks: the number itself)."""

SERVES_AS_ASKED_NOT = frozenset(c for c in NEVER_A_FAILURE if group_of(c) is Group.FALLBACK)
STARTS = (P.STARTING, P.LOADING, P.PROFILING, P.COMPILING, P.CAPTURING, P.WARMING_UP)
BUSY = ("long queue", "long prefill", "overloaded front end", "paused", "locked by a key")
HANGS = ("all of it", "one engine of two")
SHAPES = ("two engines", "embedding", "one engine")
"""How a service may be run in a night that is drawn for its shape: of two engines only the first
is given work; an embedding model makes no token, and reads some."""
NOT_NOTICED = frozenset({"HANGS", "HANGS_AT_READY", "BUSY"})
"""What nobody notices of a service that is never reached: only its log and processes tell of it."""
SILENT_BY_DESIGN = ("sleeping", "paused", "locked by a key")


def of_class(failure: FailureClass, rng: random.Random, at: float, service: str) -> Fault:
    """Return something that leads to this class, as truly as the simulated world can."""
    lasting = rng.choice([20 * 60.0, HOUR, 3 * HOUR])
    if failure in SERVES_AS_ASKED_NOT:
        return Fault(at, What.MISMATCH, service, failure, lasting)
    if failure is F.ENGINE_HUNG:
        what = rng.choice([What.HANGS, What.HANGS_AT_READY])
        return Fault(at, what, service, how=rng.choice(HANGS) if what is What.HANGS else "")
    if failure is F.START_STALLED:
        return Fault(at, What.STALLS, service, how=rng.choice(STARTS).value)
    if failure is F.OOM_FREE_MEM_STARTUP:
        return Fault(at, What.NEIGHBOUR, service, seconds=lasting, size=rng.uniform(1.5, 14.0))
    if failure is F.OOM_RUNTIME:
        return Fault(at, What.RUNTIME_PEAK, service, seconds=lasting, size=rng.uniform(0.8, 2.5))
    if failure in GROWTH:
        how, least, most = GROWTH[failure]
        until = rng.choice([lasting, FOR_EVER])
        size = rng.uniform(least, most)
        return Fault(at, What.GROWS, service, failure, until, how, size)
    if failure in (F.GPU_LOST, F.XID_79, F.NO_GPU):
        return Fault(at, What.GPU_LOST, service, failure, lasting)
    if failure in NEVER_HELD:
        return Fault(at, What.LASTS, service, failure, lasting)
    if kind_of(failure) is not Kind.TRANSIENT:
        until = rng.choice([lasting, lasting, lasting, FOR_EVER])
        mend = rng.choice(["reload", "start"])
        return Fault(at, What.PERSON, service, failure, until, mend)
    if failure not in NEVER_A_FAILURE and rng.random() < 0.3:
        return Fault(at, What.LASTS, service, failure, lasting)
    return Fault(at, What.DIES, service, failure, size=rng.choice([0, 0, 1, 2]))


def anything(rng: random.Random, at: float, service: str) -> Fault:
    """Return one thing that is no failure class of its own, or a random class."""
    lasting = rng.choice([5 * 60.0, 20 * 60.0, HOUR])
    match rng.choice(DRAWN):
        case What.BUSY:
            how = rng.choice(BUSY)
            seconds = {"long prefill": 100.0, "overloaded front end": 240.0}.get(how, lasting)
            return Fault(at, What.BUSY, service, seconds=seconds, how=how)
        case What.BAD_EDIT:
            until = rng.choice([lasting, lasting, FOR_EVER])
            failure = rng.choice([F.UNKNOWN_ARG, F.BAD_ARG_VALUE, F.QUANT_MISMATCH])
            return Fault(at, What.BAD_EDIT, service, failure, until)
        case What.SLOW_RELEASE:
            size = rng.uniform(10, 90)
            return Fault(at, What.SLOW_RELEASE, service, seconds=lasting, size=size)
        case What.ACTION_LOST:
            how = rng.choice(["silently", "with an error"])
            return Fault(at, What.ACTION_LOST, service, how=how)
        case What.EDIT:
            how = rng.choice(["max_num_seqs", "max_model_len", "gpu_memory_utilization"])
            return Fault(at, What.EDIT, service, how=how, size=rng.random())
        case (
            What.REFUSED_EDIT
            | What.RESTART
            | What.REBOOT
            | What.AGENT_KILLED
            | What.AGENT_KILLED_ACTING
            | What.HANGS_AT_READY
        ) as simple:
            return Fault(at, simple, service)
        case What.HANGS:
            return Fault(at, What.HANGS, service, how=rng.choice(HANGS))
        case What.STOP | What.JOURNAL_GONE | What.STALE_NEWS | What.TAKEN_OVER as for_a_while:
            return Fault(at, for_a_while, service, seconds=lasting)
        case _:
            return of_class(rng.choice(list(FailureClass)), rng, at, service)


def steering(rng: random.Random, services: tuple[str, ...]) -> tuple[Fault, ...]:
    """Return what an operator asks of llmagent in a night: up to four things."""
    asked = []
    for _ in range(rng.randint(1, 4)):
        at, service = rng.uniform(0, 10 * HOUR), rng.choice(services)
        if rng.random() < 0.6:
            seconds = rng.choice([20 * 60.0, HOUR, 3 * HOUR])
            how = rng.choice(["service", "host"])
            asked.append(Fault(at, What.PAUSED, service, seconds=seconds, how=how))
        else:
            how = rng.choice(["now", "when idle", "later"])
            asked.append(Fault(at, What.PLANNED, service, how=how))
    return tuple(asked)


def of_shape(rng: random.Random, services: tuple[str, ...]) -> tuple[Fault, ...]:
    """Return what happens to services in their shapes: silence that is meant, and hangs."""
    found = []
    for _ in range(rng.randint(2, 5)):
        at, service = rng.uniform(HOUR, 10 * HOUR), rng.choice(services)
        if rng.random() < 0.7:
            seconds, how = rng.choice([20 * 60.0, HOUR, 3 * HOUR]), rng.choice(SILENT_BY_DESIGN)
            found.append(Fault(at, What.BUSY, service, seconds=seconds, how=how))
        else:
            found.append(Fault(at, What.HANGS, service, how=rng.choice(HANGS)))
    return tuple(found)


def plan(rng: random.Random, failure: FailureClass, services: tuple[str, ...]) -> tuple[Fault, ...]:
    """Return what happens in one night: this class at least, and up to seven things more."""
    times = sorted(rng.uniform(0, 10 * HOUR) for _ in range(rng.randint(1, 8)))
    if rng.random() < 0.3 and len(times) > 1:
        times[1] = times[0] + rng.uniform(0, 90)  # troubles like company
    first = rng.randrange(len(times))
    return tuple(
        of_class(failure, rng, at, rng.choice(services))
        if number == first
        else anything(rng, at, rng.choice(services))
        for number, at in enumerate(times)
    )
