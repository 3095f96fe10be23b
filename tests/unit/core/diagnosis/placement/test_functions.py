# SPDX-License-Identifier: Apache-2.0
"""What a function is for tells whose fault its exception is: a setting, a file or vLLM itself."""

from __future__ import annotations

import pytest

from agent.cli.diagnose import remedy_of
from agent.core.diagnosis.placement.rules import PlaceError, rule_from_table
from agent.core.failures.classes import EnginePhase, FailureClass
from tests.given.engine_logs import (
    DEATH_AT_START,
    SIGNATURES,
    SITE,
    STARTING,
    diagnose,
    died_in,
    v1,
)

F = FailureClass
PLACES = SIGNATURES.places
MODEL = "vllm/model_executor/models/odd.py"
QUANTIZATION = "vllm/model_executor/layers/quantization/odd.py"
EXECUTOR = "vllm/v1/executor/odd.py"
META = "attempted to run this operator with Meta tensors"
INSPECTION = "Command '['/opt/python3', '-m', 'vllm.model_executor.models.registry']'"
REFUSED = "Operation not permitted"


@pytest.mark.parametrize(
    ("frame", "exception"),
    [
        (f"{MODEL}:get_placeholder_str", "ValueError: Only odd media are supported"),
        (f"{MODEL}:image_replacement", "AssertionError: odd grid"),
        (f"{MODEL}:_parse_and_validate_video_input", "ValueError: odd frames without times"),
        ("vllm/tokenizers/odd_encoding.py:render_message", "ValueError: role 7 of 3"),
        ("vllm/multimodal/cache.py:get_and_update_item", "AssertionError: no item for 7f"),
        (f"{MODEL}:forward", "ValueError: Either ids or embeddings"),
        (f"{MODEL}:odd_windows", "ValueError: window 9 is outside the buffer"),
        ("vllm/tokenizers/odd_encoding.py:parse_message_from_text", "AssertionError: Odd summary"),
        ("vllm/transformers_utils/processors/odd.py:__call__", "ValueError: 2 odd sentinel(s)"),
        ("vllm/transformers_utils/config.py:f", "AssertionError: Should not be reached"),
        ("vllm/model_executor/layers/resampler.py:f", "AssertionError"),
        ("vllm/v1/spec_decode/odd.py:odd_entropy", "ValueError: Odd expects 2-D logits"),
        ("vllm/v1/attention/backends/odd.py:f", f"NotImplementedError: odd::f: {META}"),
    ],
)
def test_what_only_requests_meet_is_no_fault_of_files_or_settings(
    frame: str, exception: str
) -> None:
    found = diagnose(died_in(frame, exception=exception))
    assert found.failure is F.ENGINE_BUG
    assert remedy_of(found)["action"] == "hold"


@pytest.mark.parametrize(
    ("frame", "exception", "failure"),
    [
        (f"{MODEL}:__init__", "ValueError: odd layers", F.UNSUPPORTED_ARCH),
        (f"{MODEL}:load_odd_weights", "AssertionError: Unexpected odd.scale", F.WEIGHTS_MISMATCH),
        (f"{MODEL}:get_odd_groups", "ValueError: odd_groups must be even", F.UNSUPPORTED_ARCH),
        (
            "vllm/v1/attention/odd.py:f",
            "ValueError: Unrecognized FP8 dtype: 9",
            F.KV_DTYPE_UNSUPPORTED,
        ),
        (f"{MODEL}:f", "RuntimeError: Odd does not support X backend", F.ATTN_BACKEND_UNSUPPORTED),
        ("torch/odd.py:f", "RuntimeError: Gloo connectFullMesh failed with no error", F.PEER_LOST),
        (f"{EXECUTOR}:f", "NotImplementedError: timeout is not supported", F.BAD_ARG_VALUE),
        (f"{MODEL}:validate_params", "ValueError: odd_ids must be numbers", F.BAD_ARG_VALUE),
        ("vllm/distributed/utils.py:f", "ValueError: 3 does not match pp_size=2.", F.BAD_ARG_VALUE),
        ("vllm/torch_compile_cache/7f/odd.py:call", "RuntimeError: odd", F.KERNEL_LIBRARY),
        (
            "torch/multiprocessing/odd.py:f",
            f"RuntimeError: pidfd_getfd: {REFUSED}",
            F.CONTAINER_REFUSED,
        ),
        (
            f"{QUANTIZATION}:f",
            "AssertionError: odd MoE requires ROCm AITER",
            F.QUANT_UNSUPPORTED_DEVICE,
        ),
        (f"{EXECUTOR}:get_response", "RuntimeError: Worker failed with error ''", F.ENGINE_DEAD),
        (f"{MODEL}:encode", "RuntimeError: odd. Disable odd_encoder_graphs.", F.BAD_ARG_VALUE),
        ("vllm/models/odd/ops/tail.py:run", "ValueError: unsupported record", F.KERNEL_LIBRARY),
        ("vllm/models/odd/ops/tail.py:run", "ValueError: TP size must be 2", F.TP_NOT_DIVISIBLE),
        ("vllm/executor/ray_odd_executor.py:_init", "ConnectionError: odd", F.RAY_NODES_MISSING),
    ],
)
def test_what_a_start_checks_keeps_its_class(
    frame: str, exception: str, failure: FailureClass
) -> None:
    assert diagnose(died_in(frame, exception=exception)).failure is failure


def test_files_are_fetched_again_only_where_words_speak_of_them() -> None:
    """A reader of weights throws for reasons of its own, too: that is no reason to fetch them."""
    frame = "vllm/model_executor/model_loader/odd_loader.py:call"
    said = diagnose(died_in(frame, exception="ValueError: odd weight does not match"))
    assert (said.failure, said.beyond_settings) == (F.WEIGHTS_MISMATCH, True)
    assert "no setting" in str(remedy_of(said)["why"])
    corrupt = "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"
    assert not diagnose(died_in(frame, exception=corrupt)).beyond_settings


def test_words_of_progress_within_an_exception_are_no_progress() -> None:
    frame = "vllm/v1/worker/gpu/pool/odd_runner.py:add"
    said = "ValueError: Unsupported task: odd. Supported tasks: ['generate']"
    found = diagnose(died_in(frame, exception=said))
    assert found.failure in (F.BAD_ARG_VALUE, F.ENGINE_BUG)
    assert found.transient is False


def test_what_a_start_says_first_begins_a_run_behind_the_end_of_another() -> None:
    """A log without its banners: the last run counts, and its remedy may be the opposite."""
    ended = died_in(f"{MODEL}:forward", exception="torch.OutOfMemoryError: CUDA out of m")
    none = "ValueError: No available memory for the cache blocks."
    both = f"{ended}\n{died_in('vllm/v1/core/kv_cache_utils.py:f', exception=none)}"
    assert diagnose(both).failure is F.OOM_KV_NONE


def test_what_might_have_been_the_cause_is_none() -> None:
    said = "A worker died. Some common causes include: (1) it was killed by the OOM killer, (2) ..."
    found = diagnose(died_in("ray/actor.py:get", exception=f"ray.exceptions.Odd: {said}"))
    assert found.failure is not F.HOST_OOM_KILLED


def test_a_rule_by_function_takes_the_frame_that_threw() -> None:
    at = PLACES.place(
        "ValueError: odd", [f"{MODEL}:__init__", f"{MODEL}:forward"], EnginePhase.LOADING
    )
    assert at is not None
    assert at.rule == "words-of-a-model-at-work"


def test_a_function_that_is_no_pattern_is_told() -> None:
    with pytest.raises(PlaceError, match="odd"):
        rule_from_table({"id": "odd", "what": "odd", "words": "x", "functions": "("}, {})


def test_a_warning_of_the_host_is_not_the_cause_of_a_fault_of_vllm_s_own() -> None:
    said = "Not enough free disk space to download the file. The expected file size is: 4.00 MB."
    bug = died_in("vllm/v1/core/sched/scheduler.py:schedule", exception="KeyError: 7")
    warned = f"{STARTING}\n{v1(said, level='WARNING')}"
    assert diagnose(bug.replace(STARTING, warned)).failure is F.ENGINE_BUG


def test_a_process_that_looked_at_a_model_leaves_the_reason_to_what_it_printed() -> None:
    frame = f'  File "{SITE}/vllm/%s", line 7, in %s\n    odd()'
    died = "\n".join(
        [
            "Traceback (most recent call last):",
            frame % ("model_executor/models/registry.py", "_run_in_subprocess"),
            f"subprocess.CalledProcessError: {INSPECTION} returned non-zero exit status 1.",
            "",
            "The above exception was the direct cause of the following exception:",
            "",
            "Traceback (most recent call last):",
            frame % ("platforms/interface.py", "device_id_to_physical_device_id"),
            "ValueError: invalid literal for int() with base 10: 'GPU-7f'",
        ]
    )
    found = diagnose(f"{STARTING}\n{v1(died, level='ERROR')}{DEATH_AT_START}")
    assert found.failure is F.NO_GPU


@pytest.mark.parametrize(
    ("words", "failure"),
    [
        ("Odd size mismatch after adjusting: 3 != 9", F.ENGINE_BUG),
        ("odd things happen", F.UNKNOWN),
    ],
)
def test_what_a_worker_is_quoted_with_counts_where_its_own_traceback_is_gone(
    words: str, failure: FailureClass
) -> None:
    quote = f"RuntimeError: Worker failed with error '{words}', please check the stack trace above"
    assert diagnose(died_in(f"{EXECUTOR}:get_response", exception=quote)).failure is failure
