# SPDX-License-Identifier: Apache-2.0
"""The configuration in force, with what is known of engines and models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from agent.core.engine.install import Engine
from agent.core.planner.asked.speculation import Draft
from agent.core.planner.model import Model
from agent.core.record import dataclass
from agent.core.settings.gpus import Power, Thermal
from agent.core.settings.notify import Notify
from agent.core.settings.service import ServicePolicy


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model whose config.json is known; `files_gib` of its weights where they are here.

    `draft` is the model that drafts for it, where one is asked for and known.
    """

    model: Model
    files_gib: float | None = None
    draft: Draft | None = None


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """The configuration in force: each service's policy, its engine, and its model where known.

    `option_files` is what stands in the files that services name with vLLM's --config.
    """

    services: Mapping[str, ServicePolicy]
    engines: Mapping[str, Engine]
    models: Mapping[str, KnownModel] = field(default_factory=dict)
    option_files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    power: Power = field(default_factory=Power)
    thermal: Thermal = field(default_factory=Thermal)
    notify: Notify = field(default_factory=Notify)
