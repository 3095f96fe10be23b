# SPDX-License-Identifier: Apache-2.0
"""The planner's errors on published starts of vLLM, beside vllm-wizard's where that has an answer.

Usage: python -m tests.benchmarks.planner. Errors are shares of what vLLM printed. vllm-wizard names
no KV cache; its weights, its overhead and the target that it allocates give one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

from agent.core.planner.question import Fit
from tests.given.planner_rows import Row, error, rows
from tests.rig import paths

FIGURES = ("weights_gib", "available_kv_gib", "kv_tokens")
WITHIN = 0.1
ASK = """
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


def wizards_question(row: Row) -> dict[str, Any]:
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


def wizards_figures(row: Row, answer: dict[str, Any]) -> dict[str, float]:
    """Its answer under vLLM's names, of one GPU; nothing where it has none."""
    if "error" in answer:
        return {}
    gpus = row.request.tensor_parallel_size
    target, weights = answer["vram_target_alloc_gb"], answer["weights_gb"]
    kv_gib = (target - weights - answer["overhead_gb"]) / gpus
    return {"weights_gib": weights, "available_kv_gib": kv_gib}


def ask_wizard(asked: Sequence[Row]) -> list[dict[str, Any]]:
    """Have vllm-wizard answer all rows."""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", ASK],
        input=json.dumps([wizards_question(row) for row in asked]),
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(paths.part("peers"))},
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def tell(who: str, figure: str, errors: Sequence[float], asked: int) -> None:
    if not errors:
        print(f"{who:<12} {figure:<18} no answer")
        return
    sizes = [abs(e) for e in errors]
    within = sum(size <= WITHIN for size in sizes)
    print(
        f"{who:<12} {figure:<18} {within} of {asked} within {WITHIN:.0%}, "
        f"median {median(sizes):.1%}, worst {max(sizes):.1%}"
    )


def main() -> int:
    """Print the errors."""
    known = rows()
    answers = [
        wizards_figures(row, answer) for row, answer in zip(known, ask_wizard(known), strict=True)
    ]
    for figure in FIGURES:
        here = [e for row in known if (e := error(row, figure)) is not None]
        tell("llmagent", figure, here, len(here))
        theirs = [
            answer[figure] / row.printed[figure] - 1
            for row, answer in zip(known, answers, strict=True)
            if figure in answer and row.printed.get(figure)
        ]
        tell("vllm-wizard", figure, theirs, len(here))
    failed = [row for row in known if row.failed]
    called_fit = [row.source for row in failed if row.plan().verdict is Fit.FITS]
    print(f'llmagent     said "fits" of {len(called_fit)} of {len(failed)} starts that failed')
    return 0


if __name__ == "__main__":
    sys.exit(main())
