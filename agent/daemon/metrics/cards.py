# SPDX-License-Identifier: Apache-2.0
"""What is remembered of each GPU, and what was done about it, as rows; none of it goes stale."""

from __future__ import annotations

from agent.core.state.card import Cure, HeatLevel, LeverState
from agent.core.view.gpus import GpuView
from agent.daemon.metrics.families import Row, counters, gauge, gauges

CARDS: tuple[Row[GpuView], ...] = (
    gauge(
        "llmagent_gpu_power_limit_target_watts",
        "The power limit that llmagent holds a GPU to.",
        lambda one: one.card.cap.target_watts,
    ),
    gauges(
        "llmagent_gpu_power_limit_state",
        "How far it has come to hold a GPU to its power limit: 1 for the state that it is in.",
        ("state",),
        lambda one: [((state.value,), one.card.cap.state is state) for state in LeverState],
    ),
    counters(
        "llmagent_gpu_power_limit_reasserts",
        "How often the power limit had to be set again, by why.",
        ("cause",),
        lambda one: [((cause.value,), n) for cause, n in one.card.cap.reasserts.items()],
    ),
    gauges(
        "llmagent_gpu_heat_level",
        "How hot a GPU is by its thresholds: 1 for the level that it is at.",
        ("level",),
        lambda one: [((level.value,), one.card.heat.level is level) for level in HeatLevel],
    ),
    gauge(
        "llmagent_gpu_hidden_throttle",
        "Whether a busy GPU is far below its clocks and gives no reason.",
        lambda one: one.card.hidden_throttle_since > 0,
    ),
    gauges(
        "llmagent_gpu_cure_needed",
        "Whether a person must do this to a GPU before it can be relied on.",
        ("cure",),
        lambda one: [
            ((cure.value,), one.card.ailment is not None and one.card.ailment.cure is cure)
            for cure in Cure
        ],
    ),
    counters(
        "llmagent_gpu_xid_errors",
        "Errors of a GPU that the driver has logged, by NVIDIA's code.",
        ("xid",),
        lambda one: [((str(code),), seen.count) for code, seen in one.card.xids.items()],
    ),
    gauges(
        "llmagent_gpu_xid_last_timestamp_seconds",
        "When the driver last logged this error of a GPU.",
        ("xid",),
        lambda one: [((str(code),), seen.last_at) for code, seen in one.card.xids.items()],
    ),
)
