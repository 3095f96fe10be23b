# SPDX-License-Identifier: Apache-2.0
"""What is not vLLM's own fault is not told as such: kernels, plugins, Python, temporary files."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from agent.core.failures.classes import FailureClass as F
from tests.given.engine_logs import (
    PROFILING,
    SERVING,
    SITE,
    STARTING,
    diagnose,
    died_in,
    thrown_by,
    v1,
)

WORKER = "vllm/v1/worker/gpu_worker.py:determine_available_memory"
LORA = "vllm/lora/ops/triton_ops/lora_shrink_op.py:_lora_shrink"
RESOURCES = "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 147456, Hardware limit: 101376. Reducing block sizes or `num_stages` may help."


@pytest.mark.parametrize(
    "said",
    [
        "NotImplementedError: No MXFP4 MoE backend supports the deployment configuration.",
        "NotImplementedError: No NvFp4 MoE backend supports the deployment configuration.",
        "ValueError: No FP8 MoE backend supports the deployment configuration.",
    ],
)
def test_where_no_kernel_takes_the_experts_the_checkpoint_is_not_blamed(said: str) -> None:
    found = diagnose(died_in(WORKER, exception=said, before=PROFILING))
    assert (found.failure, found.transient) == (F.KERNEL_LIBRARY, False)
    assert "the checkpoint is fine" in found.advice


def test_an_illegal_instruction_of_a_kernel_that_triton_built_is_there_again() -> None:
    triton = "RuntimeError: Triton Error [CUDA]: an illegal instruction was encountered"
    built = diagnose(died_in(WORKER, "triton/odd.py:run", exception=triton, before=PROFILING))
    assert (built.failure, built.transient) == (F.KERNEL_LIBRARY, False)
    torch = "torch.AcceleratorError: CUDA error: an illegal instruction was encountered"
    other = diagnose(died_in(WORKER, exception=torch, before=PROFILING))
    assert other.failure is F.CUDA_ILLEGAL_MEMORY_ACCESS


def test_a_lora_kernel_that_needs_too_much_names_the_rank() -> None:
    found = diagnose(died_in(WORKER, LORA, exception=RESOURCES, before=PROFILING))
    assert found.failure is F.KERNEL_LIBRARY
    assert "max_lora_rank" in found.advice
    other = diagnose(died_in(WORKER, exception=RESOURCES, before=PROFILING))
    assert other.failure is F.KERNEL_LIBRARY
    assert "lora" not in other.advice.lower()


def test_flashinfer_without_this_gpu_names_other_backends() -> None:
    said = "RuntimeError: Check failed: (status == cudaSuccess) is false: BatchDecodeWithPagedKVCache failed with error no kernel image is available for execution on the device"
    found = diagnose(died_in(WORKER, "flashinfer/decode.py:run", exception=said))
    assert found.failure is F.NO_KERNEL_IMAGE
    assert "--attention-backend" in found.advice


def test_what_a_plugin_throws_is_said_of_the_plugin() -> None:
    said = "odd_meter.errors.Unplugged: meter 3 does not answer"
    below = "vllm/v1/engine/core.py:run_engine_core"
    found = diagnose(died_in(below, "odd_meter/hooks.py:on_load", exception=said))
    assert (found.failure, found.transient) == (F.ENGINE_BUG, None)
    assert "odd_meter" in found.advice
    assert "vLLM's own fault" not in found.advice
    alone = diagnose(died_in("odd_meter/hooks.py:on_load", exception=said))
    assert "odd_meter is" not in alone.advice


# --- code for a newer Python ----------------------------------------------------------------------


def unreadable(code: str, said: str) -> str:
    lines = [
        thrown_by("odd/comm.py:<module>", exception=f'  File "{SITE}/odd/handles.py", line 41'),
        f"    {code}",
        "         ^^^^",
        f"SyntaxError: {said}",
    ]
    trace = "EngineCore failed to start.\nTraceback (most recent call last):\n" + "\n".join(lines)
    return f"{STARTING}\n{v1(trace, level='ERROR')}"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("type Odd = int | bytes", "invalid syntax"),
        ("def odd[T](value: T) -> T:", "expected '('"),
        ("class Odd[T]:", "invalid syntax"),
        ("except* OSError:", "invalid syntax"),
        ('name = f"{odd["a"]}"', "f-string: unmatched '['"),
        ("name = f\"{'\\n'.join(odd)}\"", "f-string expression part cannot include a backslash"),
    ],
)
def test_syntax_of_a_newer_python_asks_for_it(code: str, said: str) -> None:
    found = diagnose(unreadable(code, said))
    assert (found.failure, found.transient) == (F.PYTHON_TOO_OLD, False)
    assert "odd/handles.py" in found.advice


def test_other_code_that_python_cannot_read_is_a_broken_package() -> None:
    found = diagnose(unreadable("return odd odd", "invalid syntax"))
    assert found.failure is F.PACKAGE_MISMATCH
    assert found.evidence[0] == "SyntaxError: invalid syntax: return odd odd"


# --- files and ends of connections ----------------------------------------------------------------


def test_no_directory_for_temporary_files_is_no_fault_of_the_model() -> None:
    said = (
        "FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/srv/odd']"
    )
    reading = "vllm/model_executor/models/registry.py:_try_inspect_model_cls"
    found = diagnose(died_in(reading, exception=said))
    assert (found.failure, found.transient) == (F.CACHE_NOT_WRITABLE, False)
    assert "TMPDIR" in found.advice


@pytest.mark.parametrize(
    "said", ["ConnectionResetError: [Errno 104] Connection reset by peer", "EOFError"]
)
def test_an_end_that_is_gone_is_told_by_whose_it_was(said: str) -> None:
    connector = "vllm/distributed/kv_transfer/kv_connector/v1/odd_connector.py:start_load_kv"
    steps = ("vllm/v1/engine/core.py:_process_engine_step", connector, "asyncio/runners.py:run")
    fatal = "EngineCore encountered a fatal error.\nTraceback (most recent call last):\n"
    died = v1(fatal + thrown_by(*steps, exception=said), level="ERROR")
    found = diagnose(f"{SERVING}\n{died}")
    assert (found.failure, found.transient) == (F.PEER_LOST, True)
    hub = diagnose(died_in("huggingface_hub/file_download.py:odd", exception=said))
    assert hub.failure is F.HUB_UNREACHABLE
    worker = diagnose(
        f"{SERVING}\n{v1(fatal + thrown_by(steps[0], exception=said), level='ERROR')}"
    )
    assert worker.failure in (F.ENGINE_DEAD, F.WORKER_DIED)


def test_a_path_that_is_no_repository_is_told_as_one_in_any_wording_of_the_hub() -> None:
    said = "huggingface_hub.errors.HFValidationError: Repo id must be in the shape 'name' or 'owner/name': '/srv/odd_m'."
    assert diagnose(died_in("odd.py:odd", exception=said)).failure is F.MODEL_PATH


def test_a_node_without_ray_s_agent_is_no_broken_package() -> None:
    said = "ray.exceptions.RuntimeEnvSetupError: Failed to set up runtime environment. The runtime_env agent on node 10.9.0.4 timed out."
    found = diagnose(died_in("ray/_private/worker.py:get", exception=said))
    assert (found.failure, found.transient) == (F.RAY_NODES_MISSING, True)
