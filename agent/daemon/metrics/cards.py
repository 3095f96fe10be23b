# SPDX-License-Identifier: Apache-2.0
"""What is remembered of each GPU, and what was done about it, as metric families."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from agent.core.state.card import Cure, HeatLevel, LeverState
from agent.core.view.gpus import GpuView
from agent.daemon.metrics.families import GPU_LABELS, card_key, counter, gauge


def card_families(cards: tuple[GpuView, ...]) -> Iterator[Metric]:
    """Yield every family; none of it goes stale."""
    yield gauge(
        "llmagent_gpu_power_limit_target_watts",
        "The power limit that llmagent holds a GPU to.",
        GPU_LABELS,
        [
            (card_key(one), one.card.cap.target_watts)
            for one in cards
            if one.card.cap.target_watts is not None
        ],
    )
    yield gauge(
        "llmagent_gpu_power_limit_state",
        "How far it has come to hold a GPU to its power limit: 1 for the state that it is in.",
        (*GPU_LABELS, "state"),
        [
            ((*card_key(one), state.value), one.card.cap.state is state)
            for one in cards
            for state in LeverState
        ],
    )
    yield counter(
        "llmagent_gpu_power_limit_reasserts",
        "How often the power limit had to be set again, by why.",
        (*GPU_LABELS, "cause"),
        [
            ((*card_key(one), cause.value), count)
            for one in cards
            for cause, count in one.card.cap.reasserts.items()
        ],
    )
    yield gauge(
        "llmagent_gpu_heat_level",
        "How hot a GPU is by its thresholds: 1 for the level that it is at.",
        (*GPU_LABELS, "level"),
        [
            ((*card_key(one), level.value), one.card.heat.level is level)
            for one in cards
            for level in HeatLevel
        ],
    )
    yield gauge(
        "llmagent_gpu_hidden_throttle",
        "Whether a busy GPU is far below its clocks and gives no reason.",
        GPU_LABELS,
        [(card_key(one), one.card.hidden_throttle_since > 0) for one in cards],
    )
    yield gauge(
        "llmagent_gpu_cure_needed",
        "Whether a person must do this to a GPU before it can be relied on.",
        (*GPU_LABELS, "cure"),
        [
            (
                (*card_key(one), cure.value),
                one.card.ailment is not None and one.card.ailment.cure is cure,
            )
            for one in cards
            for cure in Cure
        ],
    )
    yield from _xids(cards)


def _xids(cards: tuple[GpuView, ...]) -> Iterator[Metric]:
    labels = (*GPU_LABELS, "xid")
    seen = [
        ((*card_key(one), str(code)), record)
        for one in cards
        for code, record in one.card.xids.items()
    ]
    yield counter(
        "llmagent_gpu_xid_errors",
        "Errors of a GPU that the driver has logged, by NVIDIA's code.",
        labels,
        [(key, record.count) for key, record in seen],
    )
    yield gauge(
        "llmagent_gpu_xid_last_timestamp_seconds",
        "When the driver last logged this error of a GPU.",
        labels,
        [(key, record.last_at) for key, record in seen],
    )
