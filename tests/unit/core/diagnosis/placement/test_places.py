# SPDX-License-Identifier: Apache-2.0
"""What no signature names is placed by its frames, its own words, its name and its phase."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from agent.core.diagnosis.placement.frames import exception_name, is_exception, module_path
from agent.core.diagnosis.placement.rules import PlaceError, PlaceRule, rule_from_table
from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from tests.given.engine_logs import (
    DEATH_AT_START,
    PROFILING,
    SIGNATURES,
    SITE,
    STARTING,
    diagnose,
    died_in,
    v1,
)

F = FailureClass
PLACES = SIGNATURES.places


@pytest.mark.parametrize(
    ("frames", "exception", "failure"),
    [
        (["vllm/config/cache.py:__post_init__"], "ValueError: odd pages", F.BAD_ARG_VALUE),
        (["vllm/v1/worker/gpu_worker.py:init_device", "flashinfer/mla.py:plan"], "RuntimeError: odd", F.KERNEL_LIBRARY),
        (["vllm/v1/worker/gpu_worker.py:profile", "deep_gemm/__init__.py:gemm"], "odd.Breakdown: odd", F.KERNEL_LIBRARY),
        (["vllm/v1/worker/gpu_worker.py:profile", "triton/compiler/compiler.py:compile"], "IndexError: map::at", F.KERNEL_LIBRARY),
        (["vllm/compilation/backends.py:call", "torch/_inductor/graph.py:run"], "AssertionError: odd", F.KERNEL_LIBRARY),
        (["vllm/model_executor/models/llama.py:load_weights"], "KeyError: 'odd'", F.WEIGHTS_MISMATCH),
        (["vllm/model_executor/models/llama.py:forward"], "AttributeError: 'NoneType' object has no attribute 'odd'", F.ENGINE_BUG),
        (["vllm/v1/core/sched/scheduler.py:schedule"], "KeyError: 17", F.ENGINE_BUG),
        (["vllm/lora/ops/triton_ops/lora_shrink.py:_lora_shrink"], "RuntimeError: odd", F.KERNEL_LIBRARY),
        (["transformers/models/auto/configuration_auto.py:from_pretrained"], "KeyError: 'oddtype'", F.UNSUPPORTED_ARCH),
        (["transformers/integrations/odd.py:f"], "TypeError: f() takes 1 positional argument but 2 were given", F.PACKAGE_MISMATCH),
        (["huggingface_hub/file_download.py:get"], "huggingface_hub.errors.FileMetadataError: odd", F.HUB_UNREACHABLE),
        (["vllm/distributed/parallel_state.py:init", "torch/distributed/rendezvous.py:store"], "RuntimeError: odd store did not answer within 9 s: timed out", F.PEER_LOST),
        (["vllm/multimodal/processing.py:apply"], "TypeError: odd() got 2", F.PACKAGE_MISMATCH),
        (["vllm/model_executor/layers/fused_moe/odd.py:apply"], "TypeError: odd() got an unexpected keyword argument 'odd'", F.ENGINE_BUG),
        (["ray/_private/worker.py:init"], "ConnectionError: odd", F.RAY_NODES_MISSING),
        (["vllm/v1/attention/backends/odd.py:forward"], "RuntimeError: odd", F.KERNEL_LIBRARY),
        (["vllm/v1/attention/backends/odd.py:__init__"], "NotImplementedError: odd", F.ATTN_BACKEND_UNSUPPORTED),
    ],
)  # fmt: skip
def test_an_unknown_exception_is_placed_by_the_frame_that_threw_it(
    frames: list[str], exception: str, failure: FailureClass
) -> None:
    found = diagnose(died_in(*frames, exception=exception))
    assert (found.outcome, found.failure) == (Outcome.FAILED, failure)
    assert exception_name(exception) in found.advice
    assert found.place.endswith(frames[-1])
    assert found.evidence[0].startswith(exception)


@pytest.mark.parametrize(
    ("exception", "failure"),
    [
        ("RuntimeError: Please install odd-kernels to go on", F.PACKAGE_MISMATCH),
        (
            "ImportError: libodd.so.3: cannot open shared object file: No such file or directory",
            F.PACKAGE_MISMATCH,
        ),
        ("AttributeError: 'OddConfig' object has no attribute 'odd'", F.PACKAGE_MISMATCH),
        ("ValueError: Odd size 3 must be divisible by tensor parallel size 2", F.TP_NOT_DIVISIBLE),
        ("torch._dynamo.exc.Unsupported: odd", F.KERNEL_LIBRARY),
        ("pynvml.NVMLError_Odd: odd", F.NO_GPU),
    ],
)
def test_its_own_words_or_name_count_where_no_frame_survived(
    exception: str, failure: FailureClass
) -> None:
    assert (
        diagnose(v1(f"EngineCore failed to start.\n{exception}", level="ERROR")).failure is failure
    )


def test_a_bare_assertion_is_read_by_the_code_that_failed() -> None:
    log = died_in("vllm/model_executor/models/odd.py:__init__", exception="AssertionError")
    log = log.replace("odd = call(self)", "assert self.total_num_heads % tp_size == 0")
    found = diagnose(log)
    assert found.failure is F.TP_NOT_DIVISIBLE
    assert "total_num_heads % tp_size" in found.evidence[0]


def test_any_name_of_an_exception_counts() -> None:
    for name in ("triton.runtime.errors.OutOfResources", "odd.pkg.Breakdown", "odd.NotToday"):
        assert is_exception(f"{name}: odd", within=False), name
    for text in ("INFO:     Started", "vllm.service: Main process exited", "Process EngineCore:"):
        assert not is_exception(text, within=True), text


def test_the_earliest_root_wins_over_those_who_only_report_it() -> None:
    inspected = (
        "(APIServer pid=7) ERROR 11-21 03:05:09 [registry.py:848] Error in inspecting model architecture 'LlamaForCausalLM'\n"
        "(APIServer pid=7) ERROR 11-21 03:05:09 [registry.py:848] Traceback (most recent call last):\n"
        f'(APIServer pid=7) ERROR 11-21 03:05:09 [registry.py:848]   File "{SITE}/odd/core.py", line 3, in <module>\n'
        "(APIServer pid=7) ERROR 11-21 03:05:09 [registry.py:848] ImportError: cannot import name 'odd' from 'numpy' (unknown location)\n"
        "(APIServer pid=7) pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "(APIServer pid=7)   Value error, Model architectures ['LlamaForCausalLM'] failed to be inspected. Please check the logs for more details. [type=value_error, input_value=ArgsKwargs((), {}), input_type=ArgsKwargs]"
    )
    found = diagnose(inspected)
    assert found.failure is F.PACKAGE_MISMATCH
    assert "numpy" in found.evidence[0]


def test_the_evidence_of_a_refused_setting_is_the_line_with_the_reason() -> None:
    found = diagnose(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for OddConfig\n"
        "  Value error, Odd pages (3) need an even cache (7). [type=value_error, input_value=ArgsKwargs((), {'a': 1}), input_type=ArgsKwargs]"
    )
    assert found.failure is F.BAD_ARG_VALUE
    assert "Odd pages (3)" in found.evidence[0]


def test_an_exception_that_replaced_another_tells_more() -> None:
    log = v1(
        "EngineCore failed to start.\nTraceback (most recent call last):\n"
        f'  File "{SITE}/vllm/v1/core/odd.py", line 3, in find\nKeyError: 3\n\n'
        "During handling of the above exception, another exception occurred:\n\n"
        f'Traceback (most recent call last):\n  File "{SITE}/vllm/v1/core/odd.py", line 9, in make\n'
        "AssertionError: no odd block is left",
        level="ERROR",
    )
    assert "no odd block" in diagnose(log).evidence[0]


def test_an_exception_that_the_start_survived_is_no_failure() -> None:
    log = died_in("vllm/v1/core/odd.py:f", exception="KeyError: 3").replace("failed to start", "ok")
    survived = log.replace(DEATH_AT_START, "") + PROFILING.replace(STARTING, "")
    assert diagnose(survived).outcome is not Outcome.FAILED


def test_a_path_is_named_from_where_python_imports_it() -> None:
    assert module_path(f"{SITE}/vllm/v1/a.py") == "vllm/v1/a.py"
    assert module_path("/usr/lib/python3.12/getpass.py") == "getpass.py"
    assert module_path("/src/vllm/vllm/utils/deep_gemm.py") == "vllm/utils/deep_gemm.py"


def test_the_phase_decides_where_the_same_layers_load_and_compute() -> None:
    frames = ["vllm/model_executor/layers/quantization/odd.py:apply"]
    loading = PLACES.place("RuntimeError: odd", frames, EnginePhase.LOADING)
    computing = PLACES.place("RuntimeError: odd", frames, EnginePhase.CAPTURING)
    assert loading is not None
    assert computing is not None
    assert (loading.failure, computing.failure) == (F.QUANT_MISMATCH, F.KERNEL_LIBRARY)


@pytest.mark.parametrize("rule", PLACES.rules, ids=[rule.id for rule in PLACES.rules])
def test_a_place_claims_its_own_examples(rule: PlaceRule) -> None:
    for example in rule.examples:
        modules = rule.thrower[:1] or rule.modules[:1] or ("odd/a.py:f",)
        path = modules[0].replace("*", "vllm/models/odd")
        names = (
            "f",
            "get_dummy_data",
            "load_weights",
            "parse_odd_text",
            "parse_size",
            "get_kwargs",
            "validate_params",
            "__call__",
            "__post_init__",
            "__init__",
            "parse_args",
        )
        function = next(n for n in names if not rule.functions or rule.functions.fullmatch(n))
        phase = rule.phases[0] if rule.phases else None
        found = PLACES.place(example, [f"{path}:{function}"] if path else [], phase)
        assert found is not None, example
        assert found.rule == rule.id


def test_a_rule_that_cannot_be_used_is_named() -> None:
    with pytest.raises(PlaceError, match="place odd: 'nowhere'"):
        rule_from_table({"id": "odd", "what": "x", "class": "nowhere"}, {})
    with pytest.raises(PlaceError, match="unknown keys"):
        rule_from_table({"id": "odd", "what": "x", "clas": "unknown"}, {})
