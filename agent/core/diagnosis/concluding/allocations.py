# SPDX-License-Identifier: Apache-2.0
"""Which part of a run an allocation failed in, and whether any setting helps: by what is printed.

Texts of torch 2.4..2.14 (c10/cuda/CUDACachingAllocator.cpp): "this process has" is printed where
torch finds its own process id among those that NVML names, which it cannot in a container.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.failure_lines import FRAME_OF_MEDIA, FailureLine
from agent.core.failures.classes import FailureClass as F
from agent.core.record import dataclass

CONTEXT_GIB = 0.5
"""What a CUDA context and its libraries take beside the allocator, at least."""

OURS_GIB, OURS_SHARE = 1.5, 0.05
"""How much more than PyTorch itself a process of ours holds: context, NCCL's buffers, graphs."""

FULL_SHARE = 0.85
"""Weights that take more of the card than this leave no room for any start-up peak."""

CROWDED_SHARE = 0.75
"""Where weights take less of the card, an allocation that does not fit beside them is a big one,
and half of it may."""

A_GOOD_PART = 0.05
"""What another process must hold of a card to be the reason that weights do not fit."""

_PROCESS = re.compile(r"\bProcess (\d{1,9}) has (\d{1,6}(?:\.\d{1,3})?) ([MG])iB memory in use")

_DIED_AT_WORK = ("encountered a fatal error", "DeadError", "Background loop")
"""Words of the wrappers that vLLM prints only when an engine that was up has died."""

_IN_THE_LOOP = "EngineCore encountered a fatal error"
"""vLLM prints it only of an engine whose busy loop ran (v1/engine/core.py, run_busy_loop)."""

_DIED_AT_START = ("failed to start", "initialization failed")
_START_PEAKS = frozenset({F.OOM_PROFILE, F.OOM_SAMPLER_WARMUP})
_COMPUTING = "frame-computing"
_OF_A_DRAFTER = "frame-drafter"
_LOADING = frozenset({"frame-loading", "frame-weight-loader", "method-loading"})

UNIFIED = (
    "This GPU shares the host's memory, of which gpu_memory_utilization is no bound: page cache "
    "and other processes take from the same. Set kv_cache_memory_bytes instead, stop what else "
    "holds memory, drop the page cache before the start (sync; echo 3 > /proc/sys/vm/drop_caches), "
    "and build with MAX_JOBS=1."
)
GUESSED = (
    "The log does not show which part of the run it was: while weights load, only a smaller or "
    "quantized checkpoint or more GPUs help; in any later part, lower gpu_memory_utilization."
)
FULL_BEFORE = (
    "The GPU had no room for as much as a context, so that gpu_memory_utilization changes nothing: "
    "see who holds its memory (nvidia-smi; a dead run's process counts). Where GPU and host share "
    "it, page cache takes from the same: sync; echo 3 > /proc/sys/vm/drop_caches."
)
MEDIA = (
    "The peak is that of images, video or audio: give --limit-mm-per-prompt (fewer or smaller "
    'items, such as \'{"image": 1, "video": 0}\') or fewer pixels with --mm-processor-kwargs; '
    "fewer sequences help the V0 engine only."
)


MORE_THAN_THE_CARD = (
    "The allocation is bigger than the card: no weight is, so it is one batch's own work, be it in "
    "the profile run or of a request. Lower max_num_batched_tokens or max_model_len; of images, "
    "video or audio their number and size; no gpu_memory_utilization makes room for it."
)
DRAFTER = (
    "The draft model of speculative decoding does not fit beside the weights: drop it "
    "(--speculative-config) or take a smaller one; else a smaller or quantized checkpoint, or more "
    "GPUs. No gpu_memory_utilization helps."
)
FORWARD = (
    "A forward pass of the warm-up found no room beside the KV cache, before any graph was "
    "captured: lower gpu_memory_utilization (kv_cache_memory_bytes where it is set) or "
    "max_num_batched_tokens; fewer graphs alone do not help."
)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a failed allocation was; `advice` is "" where the class says enough.

    `guessed`: nothing tells the part of the run. `beyond_settings`: none of the settings that
    recovery may change helps.
    """

    failure: F
    guessed: bool = False
    advice: str = ""
    beyond_settings: bool = False


def settle(cause: FailureLine, others: Iterable[FailureLine], facts: Facts) -> Settled:
    """Judge the allocation that failed by its line, its frames, the wrappers and the facts."""
    failure, guessed = _part_of_the_run(cause, [other.line for other in others])
    if facts.unified_memory:
        return Settled(failure, guessed, UNIFIED)
    if _more_than_the_card(cause):
        batch = F.OOM_PROFILE if failure is F.OOM_WEIGHTS_LOAD else failure
        return Settled(batch, guessed or batch is not failure, MORE_THAN_THE_CARD)
    if guessed:
        return Settled(failure, guessed, GUESSED, beyond_settings=True)
    if failure is F.OOM_FREE_MEM_STARTUP and "free_gib" not in cause.numbers:
        return Settled(failure, advice=FULL_BEFORE, beyond_settings=True)
    numbers = ours(cause.numbers, cause.line)
    if failure is F.OOM_WEIGHTS_LOAD and (told := _beside_a_neighbour(numbers)):
        return Settled(failure, guessed=True, advice=told)
    if failure is F.OOM_WEIGHTS_LOAD and _OF_A_DRAFTER in cause.frames:
        return Settled(failure, advice=DRAFTER)
    if failure is F.OOM_GRAPH_CAPTURE and _COMPUTING in cause.frames and not _has_graphs(cause):
        return Settled(failure, advice=FORWARD)
    media = FRAME_OF_MEDIA in cause.frames
    if media and failure is F.OOM_RUNTIME:
        return Settled(failure, advice=MEDIA)
    if failure in _START_PEAKS:
        if advice := _no_room_for_peaks(numbers, facts, media=media):
            return Settled(F.OOM_WEIGHTS_LOAD, advice=advice)
        if media:
            return Settled(failure, advice=MEDIA, beyond_settings=True)
    return Settled(failure)


def _part_of_the_run(cause: FailureLine, wrappers: list[str]) -> tuple[F, bool]:
    if cause.failure is F.OOM_WEIGHTS_LOAD and any(_IN_THE_LOOP in line for line in wrappers):
        return F.OOM_RUNTIME, False  # the lines between loading and serving are lost
    if not cause.guessed:
        return cause.failure, False
    if any(word in line for line in wrappers for word in _DIED_AT_WORK):
        return F.OOM_RUNTIME, False
    graphs = _has_graphs(cause)
    computing = bool(cause.frames & {_COMPUTING, FRAME_OF_MEDIA})
    if not graphs and not computing:
        return cause.failure, True
    if any(word in line for line in wrappers for word in _DIED_AT_START):
        return (F.OOM_GRAPH_CAPTURE if graphs else F.OOM_PROFILE), False
    return (F.OOM_RUNTIME if graphs else F.OOM_PROFILE), False


def _has_graphs(cause: FailureLine) -> bool:
    """Tell whether CUDA graphs had memory of their own: it was capturing them, or later."""
    return cause.numbers.get("private_gib", 0.0) > 0


def _more_than_the_card(cause: FailureLine) -> bool:
    """Tell whether it asked for more than the card has, and not where weights are read."""
    tried, total = cause.numbers.get("tried_gib", 0.0), cause.numbers.get("total_gib", 0.0)
    return tried > total > 0.0 and not cause.frames & _LOADING


def _beside_a_neighbour(numbers: Mapping[str, float | int]) -> str:
    """Return who else holds a good part of the card, "" where nobody is known to."""
    theirs, total = numbers.get("neighbour_gib"), numbers.get("total_gib")
    if theirs is None or not total or theirs < A_GOOD_PART * total:
        return ""
    pid = numbers.get("neighbour_pid")
    who = "Another process" if pid is None else f"Process {pid:d}"
    return (
        f"{who} holds {theirs:g} of {total:g} GiB beside this one: stop it, give this service "
        "another GPU, or wait until it ends. Only if the weights do not fit without it either do "
        "they need a smaller or quantized checkpoint, or more GPUs."
    )


def _no_room_for_peaks(numbers: Mapping[str, float | int], facts: Facts, *, media: bool) -> str:
    """Return why no smaller peak fits beside the weights, "" where one may.

    A peak of `media` is as big as the images that are allowed, whatever the weights leave.
    """
    weights, total = facts.weights_gib, numbers.get("total_gib") or facts.total_gib
    tried, share = numbers.get("tried_gib"), facts.gpu_memory_utilization
    if weights is None or not total or numbers.get("neighbour_gib"):
        return ""
    crowded = weights > CROWDED_SHARE * total and not media
    beside = crowded and tried is not None and weights + tried + CONTEXT_GIB > total
    full = share is not None and weights > share * total and weights > FULL_SHARE * total
    if not beside and not full:
        return ""
    asked = "" if share is None else f", and {share:g} of the card is {share * total:.1f} GiB"
    return (
        f"The weights take {weights:g} of {total:g} GiB{asked}: no smaller batch makes room. Use a "
        "smaller or quantized checkpoint, or more GPUs."
    )


def ours(numbers: Mapping[str, float | int], line: str = "") -> Mapping[str, float | int]:
    """Return the numbers without a "neighbour" that is the process itself, seen from a container.

    It is where torch names no process as its own and this one holds what PyTorch allocated. Of
    several that the `line` names the nearest to that is the process itself; the biggest of the
    others is the neighbour.
    """
    first, allocated = numbers.get("neighbour_gib"), numbers.get("allocated_gib")
    if first is None or allocated is None or "own_gib" in numbers:
        return numbers
    pid = int(numbers.get("neighbour_pid", 0))
    held = [(float(first), pid), *_named(line, but=pid)]
    used = allocated + numbers.get("reserved_gib", 0.0)
    rest, own = min(((abs(size - used), (size, pid)) for size, pid in held))
    if not (own[0] - used >= -0.1 and rest <= max(OURS_GIB, OURS_SHARE * own[0])):
        return numbers
    left = {k: v for k, v in numbers.items() if k not in ("neighbour_gib", "neighbour_pid")}
    found = {**left, "own_gib": own[0]}
    if others := [one for one in held if one != own]:
        found["neighbour_gib"], found["neighbour_pid"] = max(others)
    return found


def _named(line: str, *, but: int) -> list[tuple[float, int]]:
    """Return the GiB and the number of each other process that torch names."""
    return [
        (float(size) / (1024.0 if unit == "M" else 1.0), int(pid))
        for pid, size, unit in _PROCESS.findall(line)
        if int(pid) != but
    ]
