# SPDX-License-Identifier: Apache-2.0
"""A traceback whose frames were broken at the edge of a terminal still tells where it was."""

from __future__ import annotations

import pytest

from agent.core.failures.classes import FailureClass as F
from tests.given.engine_logs import diagnose, died_in

KERNEL = died_in(
    "vllm/v1/worker/gpu_worker.py:determine_available_memory",
    "vllm/v1/worker/gpu_model_runner.py:profile_run",
    "vllm/model_executor/layers/odd_layer.py:forward",
    "triton/runtime/jit.py:run",
    exception="ValueError: odd",
)
CAPTURE = died_in(
    "vllm/v1/worker/gpu_model_runner.py:capture_model",
    "torch/cuda/graphs.py:__exit__",
    exception="torch.OutOfMemoryError: CUDA out of memory.",
)


@pytest.mark.parametrize("width", range(70, 236, 7))
@pytest.mark.parametrize(
    ("log", "failure"), [(KERNEL, F.KERNEL_LIBRARY), (CAPTURE, F.OOM_GRAPH_CAPTURE)]
)
def test_the_place_survives_any_width(log: str, failure: F, width: int) -> None:
    lines = log.strip("\n").split("\n")
    broken = [line[at : at + width] for line in lines for at in range(0, len(line), width)]

    whole, found = diagnose(log), diagnose(broken)
    assert whole.failure is failure
    assert (found.failure, found.place) == (whole.failure, whole.place)


ASKED_AGAIN = (
    "'(MaxRetryError(\"HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded "
    "with url: /odd/m/resolve/main/config.json\"), '(Request ID: 1)')' thrown while requesting "
    "HEAD https://huggingface.co/odd/m/resolve/main/config.json\nRetrying in 1s [Retry 1/5]."
)
REFUSED = (
    "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
    "  Value error, Model architectures ['OddForCausalLM'] are not supported for now. Supported "
    "architectures: dict_keys(['LlamaForCausalLM']) [type=value_error, input_value=ArgsKwargs()]"
)


@pytest.mark.parametrize("width", [80, 100, 120, 160, 240, 400])
def test_a_request_that_is_made_again_is_no_cause_at_any_width(width: int) -> None:
    lines = f"{ASKED_AGAIN}\n{REFUSED}".split("\n")
    broken = [line[at : at + width] for line in lines for at in range(0, len(line), width)]
    assert diagnose(broken).failure is F.UNSUPPORTED_ARCH
