# SPDX-License-Identifier: Apache-2.0
"""Starts of vLLM that were published with their figures, beside what the planner says of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Measured, Plan, PlanRequest
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config

ROWS = Path(__file__).with_name("planner_rows.toml")


@dataclass(frozen=True, slots=True)
class Row:
    """A start that was published: what was asked, and what vLLM printed."""

    source: str
    model: str
    request: PlanRequest
    printed: Mapping[str, float]
    failed: bool

    def plan(self) -> Plan:
        config = known_config(self.model)
        assert config is not None, f"{self.model} is not in agent/models/known.toml"
        return make_plan(model_of(config), self.request)


def rows() -> list[Row]:
    return [_row(table) for table in tomllib.loads(ROWS.read_text())["row"]]


def _row(table: Mapping[str, Any]) -> Row:
    request = PlanRequest(
        version=version_of(table["version"]),
        measured=Measured(available_kv_gib=table.get("given_kv_gib")),
        **table["request"],
    )
    failed = bool(table.get("failed"))
    return Row(table["source"], table["model"], request, table["printed"], failed)


def planned(plan: Plan) -> Mapping[str, float]:
    """The plan's figures under the names of what vLLM prints."""
    return {
        "weights_gib": plan.weights.gib,
        "available_kv_gib": plan.available_kv_gib,
        "kv_tokens": plan.kv_tokens,
        "max_concurrency": plan.max_concurrency,
    }


def error(row: Row, name: str) -> float | None:
    """The planner's error as a share of what vLLM printed, None where it printed nothing."""
    truth = row.printed.get(name)
    return None if truth is None else planned(row.plan())[name] / truth - 1
