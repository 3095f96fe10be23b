# SPDX-License-Identifier: Apache-2.0
"""What status.json shows of what is remembered of a service."""

from __future__ import annotations

from agent.core.engine.command_line import FLAGS
from agent.core.settings.service import Settings
from agent.core.state.service import ServiceState
from agent.core.view.asked import wall
from agent.core.view.snapshot import (
    FailureView,
    PlanView,
    ProvenView,
    RolledBackView,
    SettingValue,
)

SHOWN = tuple(name for name in FLAGS if name not in ("host", "port"))


def failure_of(s: ServiceState, ahead: float) -> FailureView | None:
    """Return the last failure and what was done about it, None before the first."""
    if s.failure is None:
        return None
    f = s.failure
    return FailureView(f.failure.value, f.evidence, f.remedy, wall(f.at, ahead))


def plan_of(s: ServiceState) -> PlanView | None:
    """Return what was computed before the last start."""
    plan = s.planned
    return None if plan is None else PlanView(plan.verdict.value, plan.reason, plan.advice)


def proven_of(s: ServiceState) -> ProvenView | None:
    """Return the settings and sizes with which it last served."""
    proven = s.proven
    if proven is None:
        return None
    sizes = (proven.weights_gib, proven.available_kv_gib, proven.cuda_graph_gib)
    return ProvenView(
        settings_of(proven.settings),
        *sizes,
        at_seconds=proven.at,
        compiled_graphs=proven.compiled_graphs,
    )


def rolled_back_of(s: ServiceState, ahead: float) -> RolledBackView | None:
    """Return why the last known good settings run in place of agent.toml's."""
    back = s.rolled_back
    return None if back is None else RolledBackView(wall(back.at, ahead), back.why)


def settings_of(settings: Settings | None) -> dict[str, SettingValue]:
    """Return what status.json shows of settings: those that are set, by name."""
    if settings is None:
        return {}
    return {name: it for name in SHOWN if (it := getattr(settings, name)) is not None}
