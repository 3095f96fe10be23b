# SPDX-License-Identifier: Apache-2.0
"""What compiling and profiling leave in the allocator, so that the KV cache does not get it."""

from __future__ import annotations

from agent.core.planner.model import Model
from agent.core.planner.overheads import Term
from agent.core.planner.terms.runner import (
    has_states,
    leaves_graphs_out,
    profiles_items,
    runs_new_runner,
)
from agent.core.planner.versions import (
    COMPILES_MORE,
    PINNED_SEGMENTS,
    UNPINNED_SEGMENTS,
    Version,
)

COMPILED_ERROR_GIB = 0.45
COMPILED_STATES_ERROR_GIB = 2.0
"""With recurrent layers, whose kernels are tuned at the start: a cold cache took 2.3 GiB more than
eager mode on an RTX 3090 (0.29), 2.7 more on an RTX 4090 (0.27.1), and 2.3 more than a warm one in
another's notes."""

COLD_GIB, COLD_GIB_PER_LAYER = 0.4, 3.8e-6
"""What a cold cache of torch.compile takes with the first new runners, whose sampler is too small
to hide it: 0.5 GiB with Qwen2.5-0.5B, 1.0 with 3B, 1.2 with 14B, for layers x hidden size."""

COLD_SHARE, COLD_ERROR_GIB = 0.9, 0.6
"""Most starts that were published were first ones; a warm cache takes nothing (two of one 3B: 1.3
and 1.7 GiB; Qwen3-8B on an RTX 4090: 0.45 GiB in all). Where images are profiled their peak hides
it."""

SEEN_GIB, HIDES_GIB = 0.6, 0.45
"""What shows of it with the old runner where no sampler's peak of the second size hides it: 0.5 to
0.8 GiB more in three starts of a dense 7B with 128 sequences or fewer (0.19 and 0.22)."""

PINNED_GIB, PINNED_ERROR_GIB = 0.1, 0.75
COMPILERS_GIB, COMPILERS_ERROR_GIB = 0.3, 0.95
"""What is counted more of compiling, and the error in all, where the device's misses are: first
starts on an RTX 5090 took 1.2 to 1.9 GiB more than planned without (0.28, four); eager ones not."""

GEFORCE_50, GEFORCE_50_GIB = "RTX 50", 1.1
"""What those four kept beyond that: 1.0, 1.1, 1.1 and 1.5 GiB, of two writers, with 4, 14 and 32
billion parameters. One of them had an embedder on the same card, which kept nothing of it; other
cards and 0.29 (RTX 5060 Ti, three starts) show up to 0.7. Why is not known."""

ANEW_GIB, ANEW_ERROR_GIB = 0.5, 0.5
ANEW_STATES_GIB, ANEW_STATES_ERROR_GIB = 2.3, 0.7
"""How much less a start that compiles leaves than one from the cache: 0.9 GiB of two configurations
(0.29), 1.0 of Qwen3-8B (0.27.1), and 2.3, 2.3 and 2.7 of models with recurrent layers. Where images
are profiled their peak hides it."""

HOW = "what compiling leaves behind, less once its cache is warm"


def left_behind(
    model: Model, version: Version, peak_gib: float, *, enforce_eager: bool, card: str = ""
) -> Term | None:
    """Return what compiling and profiling leave in the allocator; None where it is nothing.

    `peak_gib` is the profiling run's own, `card` the GPU's name.

    Two starts of one configuration differ by it: 0.9 GiB between a cold and a warm cache of
    torch.compile (public notes on a 6 GB card and on two RTX 3090, 0.29).
    """
    pinned = PINNED_SEGMENTS <= version.release < UNPINNED_SEGMENTS
    compiled = version.release >= COMPILES_MORE and not enforce_eager
    if not pinned and not compiled:
        return None
    gib, unsure = 0.0, COMPILED_ERROR_GIB
    if has_states(model):
        unsure = COMPILED_STATES_ERROR_GIB
    elif leaves_graphs_out(model, version) and not model.encodes:
        cold = COLD_GIB + COLD_GIB_PER_LAYER * len(model.layers) * model.hidden_size
        gib, unsure = COLD_SHARE * cold, COLD_ERROR_GIB
    elif peak_gib < HIDES_GIB and _is_plain(model) and not runs_new_runner(model, version):
        gib = SEEN_GIB
    if pinned and compiled:
        gib, pinned_error = gib + COMPILERS_GIB, COMPILERS_ERROR_GIB
        if GEFORCE_50 in card and leaves_graphs_out(model, version) and not model.pools:
            gib += GEFORCE_50_GIB
    else:
        pinned_error = PINNED_ERROR_GIB
    gib = gib * compiled + PINNED_GIB * pinned
    error = ((unsure * compiled) ** 2 + (pinned_error * pinned) ** 2) ** 0.5
    return Term(gib, error, HOW)


def compiling(model: Model, version: Version) -> Term:
    """Return what a start that compiles takes more than the same from its cache."""
    if version.release < COMPILES_MORE:
        return Term(0.0, 0.1, HOW)
    if profiles_items(model, version):
        return Term(0.0, ANEW_ERROR_GIB, HOW)
    if has_states(model):
        return Term(ANEW_STATES_GIB, ANEW_STATES_ERROR_GIB, HOW)
    if leaves_graphs_out(model, version):
        cold = COLD_GIB + COLD_GIB_PER_LAYER * len(model.layers) * model.hidden_size
        return Term(cold, 0.3 * cold, HOW)
    return Term(ANEW_GIB, ANEW_ERROR_GIB, HOW)


def _is_plain(model: Model) -> bool:
    return model.experts is None and not model.encodes
