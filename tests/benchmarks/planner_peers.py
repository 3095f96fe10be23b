# SPDX-License-Identifier: Apache-2.0
"""Other planners of vLLM's memory, asked offline about the same starts.

vllm-wizard names no KV cache: its weights, its overhead and the target that it allocates give one.
vramscout reads a config.json and counts dense models by it; others' sizes it asks of the hub.
ridgepoint answers for its own few models and cards, the rest it asks of the hub: it is not asked.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from tests.given.published.rows import Row
from tests.rig import paths

WIZARD = """
import json, sys
from vllm_wizard.planning.planner import run_plan
from vllm_wizard.schemas.inputs import PlanRequest
answers = []
for asked in json.load(sys.stdin):
    try:
        answers.append(run_plan(PlanRequest(**asked)).feasibility.model_dump(mode="json"))
    except Exception as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""

SCOUT = """
import dataclasses, json, pathlib, sys, tempfile
from vramscout.model import inspect_model
from vramscout.planner import plan_inference
from vramscout.types import GPUInfo
answers = []
for asked in json.load(sys.stdin):
    try:
        place = tempfile.mkdtemp()
        pathlib.Path(place, "config.json").write_text(json.dumps(asked["config"]))
        total = asked["total_gib"]
        answer = plan_inference(
            GPUInfo(0, "GPU", total, 0.45, total - 0.45), inspect_model(place),
            safety_reserve_gib=0.0, engine="vllm", **asked["settings"],
        )
        parts = dataclasses.asdict(answer.breakdown)
        beside = parts["runtime_fixed_gib"] + parts["prefill_scratch_gib"]
        answers.append({"weights_gib": parts["weights_gib"], "beside_gib": beside})
    except Exception as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""

Figures = Mapping[str, float]


def ask_wizard(rows: Sequence[Row]) -> list[Figures]:
    """Return vllm-wizard's figures of one GPU, none where it has no answer."""
    answers = _ask(WIZARD, [_wizards_question(row) for row in rows])
    return [_wizards_figures(row, answer) for row, answer in zip(rows, answers, strict=True)]


def ask_scout(rows: Sequence[Row]) -> list[Figures]:
    """Return vramscout's figures of one GPU, none where it has no answer offline."""
    answers = _ask(SCOUT, [_scouts_question(row) for row in rows])
    return [_scouts_figures(row, answer) for row, answer in zip(rows, answers, strict=True)]


def _ask(program: str, questions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program],
        input=json.dumps(questions),
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(paths.part("peers")), "HF_HUB_OFFLINE": "1"},
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def _wizards_question(row: Row) -> dict[str, Any]:
    """The row in vllm-wizard's words; it knows AWQ, GPTQ, INT8 and FP8 by the checkpoint's name."""
    asked, name = row.request, row.model.lower()
    quantization = next((q for q in ("awq", "gptq", "fp8") if q in name), asked.quantization)
    return {
        "model": {
            "model": row.model,
            "quantization": quantization if quantization != "bitsandbytes" else "awq",
            "kv_cache_dtype": asked.kv_cache_dtype,
            "max_model_len": asked.max_model_len,
        }
        | ({} if quantization else {"quantization": "none"}),
        "hardware": {
            "gpu": "GPU",
            "gpus": asked.tensor_parallel_size,
            "vram_gb": asked.gpu_memory_gib,
            "tensor_parallel_size": asked.tensor_parallel_size,
        },
        "policy": {"gpu_memory_utilization": asked.utilization},
    }


def _wizards_figures(row: Row, answer: Mapping[str, Any]) -> Figures:
    if "error" in answer:
        return {}
    gpus = row.request.tensor_parallel_size
    target, weights = answer["vram_target_alloc_gb"], answer["weights_gb"]
    kv_gib = (target - weights - answer["overhead_gb"]) / gpus
    return {"weights_gib": weights, "available_kv_gib": kv_gib}


def _scouts_question(row: Row) -> dict[str, Any]:
    asked = row.request
    return {
        "config": row.config,
        "total_gib": asked.gpu_memory_gib,
        "settings": {
            "context": asked.max_model_len or row.shape.max_position,
            "tp_size": asked.tensor_parallel_size,
            "kv_dtype": "fp8" if asked.kv_cache_dtype.startswith("fp8") else "auto",
            "weight_dtype": "fp8" if asked.quantization == "fp8" else "auto",
            "gpu_memory_utilization": asked.utilization,
        },
    }


def _scouts_figures(row: Row, answer: Mapping[str, Any]) -> Figures:
    if "error" in answer:
        return {}
    budget = row.request.utilization * row.request.gpu_memory_gib
    kv_gib = budget - answer["weights_gib"] - answer["beside_gib"]
    return {"weights_gib": answer["weights_gib"], "available_kv_gib": kv_gib}
