# SPDX-License-Identifier: Apache-2.0
"""Starts of vLLM that were published with their figures, beside what the planner says of them."""

from __future__ import annotations

import hashlib
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from agent.core.command.picture import picture_of_line
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Measured, Plan, PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError, format_of
from agent.core.planner.terms.parts import NVFP4_BITS
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config

HERE = Path(__file__).parent


class Kind(StrEnum):
    """What of a start is the hardest to plan."""

    DENSE = "dense"
    EXPERTS = "experts"
    HYBRID = "hybrid"
    IMAGES = "images"
    NVFP4 = "NVFP4"
    LATENT = "latent"
    UNIFIED = "unified memory"


@dataclass(frozen=True, slots=True)
class Row:
    """A start that was published: what was asked, and what vLLM printed; `known` by its name."""

    source: str
    model: str
    request: PlanRequest
    printed: Mapping[str, float]
    failed: bool
    config: Mapping[str, Any] | None

    @property
    def shape(self) -> Model:
        assert self.config is not None, f"{self.model} is not in agent/models/known.toml"
        return model_of(self.config)

    @property
    def family(self) -> str:
        """The vendor's line that the model belongs to, as its name begins: Qwen3, Llama, gemma."""
        name = self.model.rpartition("/")[2].lower().removeprefix("meta-")
        return name.removeprefix("nvidia-").replace("_", "-").split("-")[0].split(".")[0]

    @property
    def kind(self) -> Kind:
        model = self.shape
        keeps = {layer.keeps for layer in model.layers}
        if self.request.device.shares_host_memory:
            return Kind.UNIFIED
        if _is_nvfp4(model, self.request):
            return Kind.NVFP4
        if Keeps.LATENT in keeps or not model.known:
            return Kind.LATENT
        if Keeps.STATE in keeps:
            return Kind.HYBRID
        if model.experts is not None:
            return Kind.EXPERTS
        return Kind.IMAGES if model.encodes else Kind.DENSE

    def plan(self) -> Plan:
        return make_plan(self.shape, self.request)


def _is_nvfp4(model: Model, request: PlanRequest) -> bool:
    try:
        found = format_of(model, request.quantization)
    except UnknownQuantizationError:
        return False
    return found.bits == NVFP4_BITS and "int" not in found.name


def rows() -> list[Row]:
    """The starts that the planner's constants were fitted to."""
    return _read("fitted.toml")


def strangers() -> list[Row]:
    """Starts that were planned wrong once, of kinds that were mended since."""
    return _read("strangers.toml")


def unseen() -> list[Row]:
    """Starts that nothing was fitted to; those of models that are not known by name, too."""
    return _read("unseen.toml")


def blind(*, closed: bool) -> list[Row]:
    """Starts whose figures were written down first: the half to mend on, or the closed one."""
    return [row for row in _read("blind.toml") if _is_closed(row) is closed]


def second() -> list[Row]:
    """Starts whose figures were written down after the mending on the first of the halves."""
    return _read("second.toml")


def third(*, closed: bool) -> list[Row]:
    """Starts of the collection after those, in two halves as the blind ones."""
    return [row for row in _read("third.toml") if _is_closed(row) is closed]


def fourth() -> list[Row]:
    """A few starts whose logs were read in full, mended on what they showed."""
    return _read("fourth.toml")


def fifth() -> list[Row]:
    """A few starts more, planned once before anything was mended on them."""
    return _read("fifth.toml")


def sixth(*, closed: bool) -> list[Row]:
    """Starts of the collection after those, in two halves as the blind ones."""
    return [row for row in _read("sixth.toml") if _is_closed(row) is closed]


def seventh(*, closed: bool) -> list[Row]:
    """Starts of the collection after those, in two halves as the blind ones."""
    return [row for row in _read("seventh.toml") if _is_closed(row) is closed]


def eighth(*, closed: bool) -> list[Row]:
    """Starts of the collection after those, in two halves as the blind ones."""
    return [row for row in _read("eighth.toml") if _is_closed(row) is closed]


def ninth() -> list[Row]:
    """Starts of a collection that is a measure only: planned once, nothing is mended on it."""
    return _read("ninth.toml")


def tenth(*, closed: bool) -> list[Row]:
    """Starts of the collection after that, in two halves as the blind ones."""
    return [row for row in _read("tenth.toml") if _is_closed(row) is closed]


def eleventh() -> list[Row]:
    """Starts of the last collection, a measure only: planned once, nothing is mended on it."""
    return _read("eleventh.toml")


def every_row() -> list[Row]:
    """All of them, closed halves included: for what has to hold for each, not for a rate."""
    halves = [*blind(closed=False), *third(closed=False), *sixth(closed=False)]
    halves += [*blind(closed=True), *third(closed=True), *sixth(closed=True)]
    halves += [*seventh(closed=False), *seventh(closed=True)]
    halves += [*eighth(closed=False), *eighth(closed=True)]
    halves += [*tenth(closed=False), *tenth(closed=True)]
    return [
        *rows(),
        *strangers(),
        *unseen(),
        *second(),
        *fourth(),
        *fifth(),
        *halves,
        *ninth(),
        *eleventh(),
    ]


def _is_closed(row: Row) -> bool:
    return int(hashlib.sha256(row.source.encode()).hexdigest(), 16) % 2 == 1


def _read(file: str) -> list[Row]:
    return [_row(table) for table in tomllib.loads((HERE / file).read_text())["row"]]


def _row(table: Mapping[str, Any]) -> Row:
    config = _config(table)
    request = PlanRequest(
        version=version_of(table["version"]),
        measured=Measured(available_kv_gib=table.get("given_kv_gib")),
        **table["request"],
    )
    if config is not None and "options" in table:
        words = f"--tensor-parallel-size {request.tensor_parallel_size} {table['options']}"
        if request.gpu_memory_utilization is not None:
            words += f" --gpu-memory-utilization {request.gpu_memory_utilization}"
        picture = picture_of_line(shlex.split(words))
        told = request_of(picture, model_of(config), Ground(request))
        if request.enable_prefix_caching is None:
            request = replace(request, enable_prefix_caching=told.enable_prefix_caching)
        request = replace(request, asked=told.asked)
    failed = bool(table.get("failed"))
    return Row(table["source"], table["model"], request, table["printed"], failed, config)


def _config(table: Mapping[str, Any]) -> Mapping[str, Any] | None:
    base = known_config(table.get("like", table["model"]))
    if base is None:
        return None
    kept = {key: value for key, value in base.items() if key not in table.get("without", ())}
    own = table.get("quantization_config")
    return {**kept, "quantization_config": own} if own else kept


def planned(plan: Plan) -> Mapping[str, float]:
    """The plan's figures under the names of what vLLM prints."""
    return {
        "weights_gib": plan.loaded_gib,
        "available_kv_gib": plan.available_kv_gib,
        "kv_tokens": plan.kv_tokens,
        "max_concurrency": plan.max_concurrency,
    }


def error(row: Row, name: str) -> float | None:
    """The planner's error as a share of what vLLM printed, None where it printed nothing."""
    truth = row.printed.get(name)
    return None if truth is None else planned(row.plan())[name] / truth - 1


def bars(row: Row) -> Mapping[str, float]:
    """How far the truth lies off, as a multiple of the plan's own error, for each printed GiB."""
    plan = row.plan()
    errors = {"weights_gib": plan.weights.error_gib, "available_kv_gib": plan.error_gib}
    figures = planned(plan)
    return {
        name: abs(figures[name] - row.printed[name]) / max(bar, 0.005)
        for name, bar in errors.items()
        if name in row.printed
    }
