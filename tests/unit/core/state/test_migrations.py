# SPDX-License-Identifier: Apache-2.0
"""What an earlier release stored is read by this one."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.codec import decode, encode
from agent.core.failures.classes import FailureClass
from agent.core.remedy.case import Bound
from agent.core.state.held import Held, HeldBy
from agent.core.state.learned import Learned, NightTrial, Override
from agent.core.state.phases import Phase
from agent.core.state.rows.migrations import service_row
from agent.core.state.service import ServiceState
from agent.daemon.recorder import NOT_STORED

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
    assert decode(ServiceState, service_row(encode(s, NOT_STORED))) == s


def test_a_row_that_knows_next_to_nothing_is_read() -> None:
    assert decode(ServiceState, service_row({"name": "vllm"})) == ServiceState("vllm")


HELD = {
    "name": "vllm",
    "phase": "held",
    "reason": "held: it is so",
    "what_to_do": "Do this.",
    "held_for_card": "",
    "held_for_driver": False,
    "held_for_plan": False,
    "fetch": {"model": "org/m", "held": False, "wants_bytes": 0},
}


@pytest.mark.parametrize(
    ("flags", "held"),
    [
        ({}, Held(HeldBy.FAILURE, "it is so", "Do this.")),
        ({"held_for_card": "GPU-1"}, Held(HeldBy.CARD, "it is so", "Do this.", card="GPU-1")),
        ({"held_for_driver": True}, Held(HeldBy.DRIVER, "it is so", "Do this.")),
        ({"held_for_plan": True}, Held(HeldBy.PLAN, "it is so", "Do this.")),
        ({"foreign": "/etc/systemd/system"}, Held(HeldBy.FOREIGN, "it is so", "Do this.")),
        (
            {"fetch": {"model": "org/m", "held": True, "wants_bytes": 7}},
            Held(HeldBy.FETCH, "it is so", "Do this.", wants_bytes=7),
        ),
    ],
)
def test_what_held_a_service_before_a_hold_was_one_field_holds_it_still(
    flags: dict[str, Any], held: Held
) -> None:
    found = decode(ServiceState, service_row({**HELD, **flags}))
    assert found.held == held
    assert found.what_to_do == "Do this."
    assert found.fetch.model == "org/m"


def test_a_service_that_was_not_held_is_not() -> None:
    assert decode(ServiceState, service_row({**HELD, "phase": "serving"})).held is None


def test_a_hold_of_this_release_is_read_as_it_is() -> None:
    held = Held(HeldBy.CARD, "why", "do", until="it is cool", card="GPU-1", at_once=True)
    s = ServiceState("vllm", Phase.STOPPING, held=held)
    assert decode(ServiceState, service_row(encode(s, NOT_STORED))) == s
