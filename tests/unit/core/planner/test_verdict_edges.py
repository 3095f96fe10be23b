# SPDX-License-Identifier: Apache-2.0
"""Published starts, moved a little over the edge and back: no verdict is against what vLLM does.

The KV cache that vLLM printed tells what a longer request or a smaller share would have met.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.core.measures import GIB
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, PlanRequest
from tests.given.published.rows import Row, every_row

STEP = 0.05
LEAST_SHARE, MOST_SHARE = 0.1, 0.97

PRINTED = [
    row
    for row in every_row()
    if row.config is not None
    and row.printed.get("available_kv_gib", 0.0) > 0
    and row.request.measured.available_kv_gib is None
    and row.request.kv_cache_memory_bytes is None
]


def neighbours(row: Row) -> Iterator[tuple[PlanRequest, bool]]:
    """Yield starts beside this one, and whether they fail for want of KV cache."""
    plan, printed = row.plan(), row.printed["available_kv_gib"]
    request, most = row.request, plan.model_tokens
    latent = row.shape.latent
    # A sparse indexer sets room aside for each token of the context, and Qwen2.5-VL's videos are as
    # long as it allows: the cache is another then.
    indexed = latent is not None and latent.index_heads > 0
    encoder = row.shape.encoder
    filmed = encoder is not None and not encoder.long_videos and not encoder.stills
    longest = 0 if indexed or filmed else plan.kv.longest(printed * GIB, most)
    if longest and longest < (1 - STEP) * most:
        longer = min(most, int(longest * (1 + STEP)) + 16)
        yield replace(request, max_model_len=longer), True
    if longest and not row.failed:
        yield replace(request, max_model_len=max(16, int(longest * (1 - STEP)))), False
    for part, fails in ((1 - STEP, True), (1 + STEP, False)):
        spared = (printed - part * plan.needed_kv_gib) / request.gpu_memory_gib
        share = request.utilization - spared
        if LEAST_SHARE < share < MOST_SHARE and (fails or not row.failed):
            yield replace(request, gpu_memory_utilization=share), fails


def test_there_are_many_edges() -> None:
    assert sum(1 for row in PRINTED for _ in neighbours(row)) > 500


@pytest.mark.parametrize("row", PRINTED, ids=lambda row: row.source)
def test_no_start_over_the_edge_fits_and_none_before_it_does_not(row: Row) -> None:
    for request, fails in neighbours(row):
        plan = make_plan(row.shape, request)
        if fails:
            assert plan.verdict is not Fit.FITS
        elif plan.verdict is Fit.DOES_NOT_FIT:
            # Fewer blocks than sequences with recurrent states are refused, whatever a request is.
            assert plan.reason.startswith("max_num_seqs ")
