# SPDX-License-Identifier: Apache-2.0
"""What is shown of a start that is under way."""

from __future__ import annotations

from dataclasses import replace

from agent.core.settings.service import Settings
from agent.core.stages.book import StagesSeen
from agent.core.stages.stage import Stage
from agent.core.state.phases import Phase
from agent.core.state.service import Live, ServiceState
from agent.core.view.starting import stage_of
from tests.given.cluster.two_hosts import of_two

IMPORTS = next(iter(Stage))
STARTS = ServiceState(
    *("vllm", Phase.STARTING, 900.0, ""), live=Live(stages=StagesSeen(IMPORTS, 901.0))
)


def test_a_host_that_joins_by_ray_has_no_stage_of_vllm_as_that_is_on_the_head() -> None:
    for rank, has_one in ((0, True), (1, False)):
        over_ray = Settings("vllm", "/srv/m", cluster=replace(of_two(rank), ray_port=6379))
        shown = stage_of(replace(STARTS, running=over_ray), 0.0)
        assert (shown is not None) is has_one
    follower = Settings("vllm", "/srv/m", cluster=of_two(1))
    assert stage_of(replace(STARTS, running=follower), 0.0) is not None
