# SPDX-License-Identifier: Apache-2.0
"""What an earlier release stored is read by this one."""

from __future__ import annotations

from agent.core.codec import decode, encode
from agent.core.failures.classes import FailureClass
from agent.core.remedy.case import Bound
from agent.core.state.learned import Learned, NightTrial, Override
from agent.core.state.migrations import service_row
from agent.core.state.service import ServiceState

UTILIZATION = "gpu_memory_utilization"
OVERRIDE = {"asked": 0.92, "running": 0.86, "since": 7.0, "why": "oom-graph-capture: down"}

ROW_BEFORE_LEARNED = {
    "name": "vllm",
    "phase": "waiting",
    "learned_for": {"vLLM version": "0.32.0"},
    "overrides": {UTILIZATION: OVERRIDE},
    "probes": {
        UTILIZATION: {
            "before": OVERRIDE,
            "value": 0.88,
            "at": 9.0,
            "over": True,
            "not_before": 99.0,
        }
    },
    "bounds": {UTILIZATION: {"too_high": 0.92, "too_low": None, "shared": False, "fits": None}},
    "spent": {"oom-graph-capture": 2},
    "attempts": 3,
    "refetch": "weights-corrupt: fetch again",
    "retry_at": 12.0,
}


def test_what_was_learned_before_it_was_a_group_is_kept() -> None:
    found = decode(ServiceState, service_row(ROW_BEFORE_LEARNED))
    override = Override(0.92, 0.86, 7.0, "oom-graph-capture: down")
    assert found.retry_at == 12.0
    assert found.learned == Learned(
        learned_for={"vLLM version": "0.32.0"},
        overrides={UTILIZATION: override},
        bounds={UTILIZATION: Bound(too_high=0.92)},
        probes={UTILIZATION: NightTrial(override, 0.88, 9.0, over=True, not_before=99.0)},
        spent={FailureClass.OOM_GRAPH_CAPTURE: 2},
        attempts=3,
        refetch="weights-corrupt: fetch again",
    )


def test_a_row_of_this_release_is_read_as_it_is() -> None:
    s = ServiceState("vllm", learned=Learned(attempts=2, spent={FailureClass.OOM_PROFILE: 1}))
    assert decode(ServiceState, service_row(encode(s))) == s


def test_a_row_that_knows_next_to_nothing_is_read() -> None:
    assert decode(ServiceState, service_row({"name": "vllm"})) == ServiceState("vllm")
