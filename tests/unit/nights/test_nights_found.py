# SPDX-License-Identifier: Apache-2.0
"""Nights that once broke a promise, as short as they still did, each with what was wrong."""

from __future__ import annotations

import pytest

from agent.core.failures.classes import FailureClass
from tests.nights.faults import FOR_EVER, Fault, What
from tests.nights.night import Night, under_llmagent
from tests.nights.telling import what_breaks

FOUND = {
    "lowered for a neighbour, then too little for the weights: held though the neighbour left": (
        Night(
            784,
            (
                Fault(
                    17373.392917976907,
                    What.NEIGHBOUR,
                    "vllm",
                    seconds=1200.0,
                    size=9.871566688013125,
                ),
            ),
        )
    ),
    "raised six times by halves, each less than one request needs, then held": Night(
        595,
        (
            Fault(
                18385.026204053836,
                What.GROWS,
                "vllm",
                FailureClass.OOM_GRAPH_CAPTURE,
                FOR_EVER,
                "graphs",
                3.3672786109152097,
            ),
        ),
    ),
    "held while a utilization between too high and too low was never tried": Night(
        1373,
        (
            Fault(
                32141.50451538768,
                What.GROWS,
                "vllm",
                FailureClass.OOM_KV_NONE,
                3600.0,
                "weights",
                1.400882110247304,
            ),
        ),
    ),
    "a log that was concluded twice asked who listens on the port each time, without end": Night(
        6728,
        (
            Fault(11956.1, What.DIES, "vllm", failure=FailureClass.PORT_IN_USE, size=2),
            Fault(11975.5, What.STALE_NEWS, "vllm", seconds=3600),
        ),
    ),
    "stopped, taken over and given back: started though the operator had stopped it": Night(
        1898,
        (
            Fault(28833.3, What.STOP, "vllm", seconds=3600),
            Fault(31458.8, What.TAKEN_OVER, "vllm", seconds=300),
        ),
    ),
    "taken over and given back while it waited for the hour's budget: one start too many": Night(
        3623,
        (
            Fault(2736.8, What.LASTS, "vllm", failure=FailureClass.XID_56, seconds=1200),
            Fault(3322.2, What.TAKEN_OVER, "vllm", seconds=300),
        ),
    ),
}


@pytest.mark.parametrize("night", FOUND.values(), ids=FOUND.keys())
def test_the_promise_is_kept_now(night: Night) -> None:
    assert what_breaks(lambda: under_llmagent(night)) is None
