# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.reader import LogReader
from agent.core.engine.answers import ApiFacts, Completion, NoAnswer, PrefixProbe, ServedModel
from agent.core.settings.service import Expectations, Settings
from agent.core.verify.check import Check, Verdict
from agent.core.verify.items import verify
from agent.core.verify.model_shape import ModelShape
from agent.host.data.signatures import load_signatures

ASKED = Settings(
    name="vllm",
    model="/srv/models/llama-awq",
    quantization="awq",
    kv_cache_dtype="fp8",
    max_model_len=1024,
    max_num_seqs=8,
    gpu_memory_utilization=0.5,
)
LLAMA = ModelShape(layers=4, kv_heads=2, head_dim=32, dtype_bytes=2)

CONFIG_LINE = "Initializing a V1 LLM engine (v0.32.0) with config: ..."


def facts(**values: object) -> Facts:
    """Facts as the log gives them: each with a line."""
    return Facts(**values, proofs={name: f"line of {name}" for name in values})  # type: ignore[arg-type]


LOG = facts(
    quantization="auto_awq",
    kv_cache_dtype="fp8",
    linear_kernel="MarlinLinearKernel",
    available_kv_gib=2.32,
    kv_cache_tokens=4858368,
    max_model_len=1024,
    max_num_seqs=8,
    gpu_memory_utilization=0.5,
    enable_prefix_caching=True,
    enable_chunked_prefill=True,
)
API = ApiFacts(
    version="0.32.0",
    models=(ServedModel("/srv/models/llama-awq", "/srv/models/llama-awq", 1024),),
    cache_config={
        "cache_dtype": "fp8",
        "gpu_memory_utilization": "0.5",
        "enable_prefix_caching": "True",
        "block_size": "128",
    },
    completion=Completion(" blue", 6, 8, "length", 0.4),
    prefix=PrefixProbe(384, 0.0, 256.0, others=False),
)


def check(
    item: str,
    settings: Settings = ASKED,
    expect: Expectations = Expectations(),  # noqa: B008 - frozen
    log: Facts = LOG,
    api: ApiFacts = API,
    running: Settings | None = None,
    shape: ModelShape | None = LLAMA,
) -> Check | None:
    checks = verify(settings, expect, log, api, running=running, shape=shape)
    found = [one for one in checks if one.item == item]
    assert len(found) <= 1
    return found[0] if found else None


def verdict(item: str, **given: object) -> Verdict | None:
    found = check(item, **given)  # type: ignore[arg-type]
    return found.verdict if found else None


def without(log: Facts, *names: str) -> Facts:
    proofs = {name: line for name, line in log.proofs.items() if name not in names}
    return replace(log, **dict.fromkeys(names), proofs=proofs)


def test_a_service_that_runs_as_asked_is_proven_in_every_item() -> None:
    checks = verify(ASKED, Expectations(), LOG, API, shape=LLAMA)
    assert {one.item: one.verdict for one in checks} == dict.fromkeys(
        [
            "quantization",
            "linear_kernel",
            "kv_cache_dtype",
            "kv_bytes_per_token",
            "max_model_len",
            "max_num_seqs",
            "gpu_memory_utilization",
            "prefix_caching",
            "chunked_prefill",
            "model",
            "completion",
            "prefix_cache_hits",
        ],
        Verdict.PROVEN,
    )


@pytest.mark.parametrize(
    ("asked", "printed"),
    [
        ("awq", "auto_awq"),
        ("awq_marlin", "auto_awq"),
        ("gptq_marlin", "auto_gptq"),
        ("gptq", "auto_gptq"),
        ("fp8", "fp8_per_tensor"),
        ("fp8", "fp8"),
        ("compressed-tensors", "compressed-tensors"),
    ],
)
def test_a_method_is_the_same_under_the_name_of_another_release(asked: str, printed: str) -> None:
    settings = replace(ASKED, quantization=asked)
    log = replace(LOG, quantization=printed)
    assert verdict("quantization", settings=settings, log=log) is Verdict.PROVEN


@pytest.mark.parametrize(("asked", "printed"), [("awq", "auto_gptq"), ("fp8", "auto_awq")])
def test_another_method_contradicts(asked: str, printed: str) -> None:
    settings = replace(ASKED, quantization=asked)
    log = replace(LOG, quantization=printed)
    assert verdict("quantization", settings=settings, log=log) is Verdict.CONTRADICTED


def test_an_engine_that_says_none_contradicts_and_one_that_says_nothing_is_unknown() -> None:
    says_none = replace(LOG, quantization=None)
    found = check("quantization", log=says_none)
    assert found is not None
    assert (found.verdict, found.got) == (Verdict.CONTRADICTED, "none")
    assert verdict("quantization", log=without(LOG, "quantization")) is Verdict.UNKNOWN


def test_the_cpu_kernel_is_not_marlin_and_the_note_says_so() -> None:
    found = check("linear_kernel", log=replace(LOG, linear_kernel="CPUWNA16LinearKernel"))
    assert found is not None
    assert found.verdict is Verdict.CONTRADICTED
    assert found.note == "not proven: kernel is CPUWNA16LinearKernel"
    assert found.evidence == "line of linear_kernel"


def test_an_expected_kernel_is_part_of_the_name_in_any_case() -> None:
    log = replace(LOG, linear_kernel="CPUWNA16LinearKernel")
    expect = Expectations(linear_kernel="cpuwna16")
    assert verdict("linear_kernel", expect=expect, log=log) is Verdict.PROVEN


def test_any_kernel_is_shown_and_not_judged() -> None:
    log = replace(LOG, linear_kernel="CPUWNA16LinearKernel")
    found = check("linear_kernel", expect=Expectations(linear_kernel="any"), log=log)
    assert found is not None
    assert (found.asked, found.verdict) == ("vLLM's choice", Verdict.PROVEN)


def test_before_0_19_the_converted_method_is_the_proof_of_marlin() -> None:
    log = replace(without(LOG, "linear_kernel"), quantization="awq_marlin")
    api = replace(API, version="0.16.0")
    assert verdict("linear_kernel", log=log, api=api) is Verdict.PROVEN
    assert verdict("linear_kernel", log=log, api=replace(API, version="0.20.2")) is Verdict.UNKNOWN


def test_asking_for_awq_before_0_24_forces_the_slow_kernel_and_contradicts() -> None:
    log = replace(without(LOG, "linear_kernel"), quantization="awq")
    found = check("linear_kernel", log=log, api=replace(API, version="0.16.0"))
    assert found is not None
    assert found.verdict is Verdict.CONTRADICTED
    assert "ask for awq_marlin or leave it out" in found.note
    assert verdict("quantization", log=log) is Verdict.PROVEN


def test_a_release_that_logs_no_kernel_leaves_it_unknown_with_the_reason() -> None:
    settings = replace(ASKED, quantization="fp8")
    log = replace(without(LOG, "linear_kernel"), quantization="fp8")
    found = check("linear_kernel", settings, log=log, api=replace(API, version="0.12.0"))
    assert found is not None
    assert found.verdict is Verdict.UNKNOWN
    assert found.note == "vLLM before 0.15 does not log the kernel of FP8"


def test_fp8_weights_on_marlin_are_not_fp8_arithmetic() -> None:
    settings = replace(ASKED, quantization="fp8")
    log = replace(LOG, quantization="fp8", linear_kernel="MarlinFP8ScaledMMLinearKernel")
    assert verdict("linear_kernel", settings=settings, log=log) is Verdict.CONTRADICTED
    log = replace(log, linear_kernel="CutlassFP8ScaledMMLinearKernel")
    assert verdict("linear_kernel", settings=settings, log=log) is Verdict.PROVEN


def test_weights_that_are_not_quantized_have_no_kernel_to_prove() -> None:
    settings = replace(ASKED, quantization=None)
    log = replace(without(LOG, "linear_kernel"), quantization=None)
    assert check("linear_kernel", settings, log=log) is None


def test_a_metric_that_disagrees_with_the_log_contradicts_and_is_the_evidence() -> None:
    api = replace(API, cache_config={**API.cache_config, "cache_dtype": "auto"})
    found = check("kv_cache_dtype", api=api)
    assert found is not None
    assert (found.verdict, found.got) == (Verdict.CONTRADICTED, "auto")
    assert found.evidence == '/metrics vllm:cache_config_info cache_dtype="auto"'


def test_fp8_and_fp8_e4m3_are_one_format() -> None:
    assert verdict("kv_cache_dtype", log=replace(LOG, kv_cache_dtype="fp8_e4m3")) is Verdict.PROVEN
    other = replace(LOG, kv_cache_dtype="fp8_e5m2")
    assert verdict("kv_cache_dtype", log=other) is Verdict.CONTRADICTED


def test_half_the_tokens_in_the_same_memory_is_not_an_fp8_cache() -> None:
    found = check("kv_bytes_per_token", log=replace(LOG, kv_cache_tokens=4858368 // 2))
    assert found is not None
    assert found.verdict is Verdict.CONTRADICTED
    assert (found.asked, found.got) == ("512 B (fp8)", "1025 B")


def test_llama_70b_on_two_gpus_takes_160_kib_a_token_on_each() -> None:
    log = replace(
        LOG, available_kv_gib=20.16, kv_cache_tokens=132128, kv_cache_dtype="auto", dtype="bfloat16"
    )
    settings = replace(ASKED, kv_cache_dtype=None, tensor_parallel_size=2)
    shape = ModelShape(layers=80, kv_heads=8, head_dim=128, dtype_bytes=2)
    found = check("kv_bytes_per_token", settings, log=log, shape=shape)
    assert found is not None
    assert (found.asked, found.verdict) == ("163840 B", Verdict.PROVEN)


def test_a_gpu_keeps_at_least_one_head() -> None:
    settings = replace(ASKED, tensor_parallel_size=4)
    log = replace(LOG, kv_cache_tokens=LOG.kv_cache_tokens * 2 if LOG.kv_cache_tokens else 0)
    assert verdict("kv_bytes_per_token", settings=settings, log=log) is Verdict.PROVEN


@pytest.mark.parametrize(
    ("shape", "log"),
    [
        (None, LOG),
        (replace(LLAMA, uniform=False), LOG),
        (LLAMA, without(LOG, "available_kv_gib")),
        (LLAMA, replace(LOG, available_kv_gib=0.04)),
        (LLAMA, replace(LOG, kv_cache_tokens=4858368 * 4 // 5)),
    ],
    ids=["no config.json", "hybrid", "not printed", "too small", "between two dtypes"],
)
def test_a_comparison_that_cannot_be_made_is_unknown(shape: ModelShape | None, log: Facts) -> None:
    assert verdict("kv_bytes_per_token", shape=shape, log=log) is Verdict.UNKNOWN


def test_the_line_of_all_arguments_is_not_shown_as_it_may_hold_secrets() -> None:
    line = "non-default args: {'api_key': ['sk-1'], 'max_num_seqs': 8}"
    found = check("max_num_seqs", log=replace(LOG, proofs={**LOG.proofs, "max_num_seqs": line}))
    assert found is not None
    assert found.evidence == "non-default args: ... 'max_num_seqs': 8 ..."


def test_a_learned_setting_is_judged_by_what_runs_and_shown_with_what_was_asked() -> None:
    settings = replace(ASKED, gpu_memory_utilization=0.95)
    found = check("gpu_memory_utilization", settings, running=ASKED)
    assert found is not None
    assert found.verdict is Verdict.PROVEN
    assert found.note == "asked 0.95, running 0.5: learned"


@pytest.mark.parametrize(
    ("line", "size", "expected"),
    [
        (
            "Initial free memory 93.04 GiB, reserved 9.31 GiB memory for KV Cache as specified by "
            "kv_cache_memory_bytes config and skipped memory profiling.",
            9536 << 20,
            Verdict.PROVEN,
        ),
        ("Explicitly set (1.0/23.54) GiB for KV cache on node 0.", 1 << 30, Verdict.PROVEN),
        ("Explicitly set (2.0/23.54) GiB for KV cache on node 0.", 1 << 30, Verdict.CONTRADICTED),
        ("Available KV cache memory: 1.0 GiB", 1 << 30, Verdict.UNKNOWN),
        ("Auto set (1.0/4.0) GiB for KV cache on node 0, with 2.4 GiB", 1 << 30, Verdict.UNKNOWN),
    ],
)
def test_a_size_of_the_kv_cache_is_proven_by_the_engine_saying_that_it_took_it_as_specified(
    line: str, size: int, expected: Verdict
) -> None:
    reader = LogReader(load_signatures())
    reader.feed(f"(EngineCore pid=7) INFO 11-21 03:05:45 [gpu_worker.py:450] {line}")
    running = replace(ASKED, kv_cache_memory_bytes=size)
    assert verdict("kv_cache_memory_bytes", log=reader.facts, running=running) is expected


def test_a_startup_plan_of_vllms_own_that_nobody_asked_for_is_told() -> None:
    reader = LogReader(load_signatures())
    line = "(EngineCore pid=7) INFO 11-21 03:05:45 [startup_plan.py:153] "
    reader.feed(f"{line}Startup plan not applied: current free memory (70.10 GiB) is below")
    assert check("startup_plan", log=reader.facts) is None
    reader.feed(
        f"{line}Applying persisted startup plan (fingerprint 0a1b): kv_cache_memory_bytes=1"
    )
    assert verdict("startup_plan", log=reader.facts) is Verdict.CONTRADICTED


def test_what_expect_names_must_be_true_of_learned_settings_too() -> None:
    running = replace(ASKED, max_model_len=1024)
    settings = replace(ASKED, max_model_len=4096)
    found = check("max_model_len", settings, Expectations(max_model_len=4096), running=running)
    assert found is not None
    assert found.verdict is Verdict.CONTRADICTED
    assert found.note == "asked 4096, running 1024: learned"


def test_a_context_that_vllm_may_choose_is_shown() -> None:
    found = check("max_model_len", replace(ASKED, max_model_len=-1))
    assert found is not None
    assert (found.asked, found.got, found.verdict) == ("vLLM's choice", "1024", Verdict.PROVEN)


def test_nothing_asked_and_nothing_known_is_no_item() -> None:
    bare = Settings(name="vllm", model="m")
    checks = verify(bare, Expectations(), Facts(), ApiFacts())
    assert [(one.item, one.verdict) for one in checks] == [
        ("model", Verdict.UNKNOWN),
        ("completion", Verdict.UNKNOWN),
    ]


def test_another_model_than_asked_contradicts() -> None:
    api = replace(API, models=(ServedModel("other"),))
    assert verdict("model", api=api) is Verdict.CONTRADICTED
    named = replace(ASKED, served_model_name="other")
    assert verdict("model", settings=named, api=api) is Verdict.PROVEN


def test_a_server_that_fails_its_work_contradicts_one_that_is_away_is_unknown() -> None:
    broken = replace(API, completion=NoAnswer("HTTP 500: EngineDeadError", broken=True))
    away = replace(API, completion=NoAnswer("nothing listens: http://127.0.0.1:8000"))
    assert verdict("completion", api=broken) is Verdict.CONTRADICTED
    assert verdict("completion", api=away) is Verdict.UNKNOWN


def test_an_answer_without_a_token_is_none() -> None:
    api = replace(API, completion=Completion("", 6, 0, "stop", 0.1))
    assert verdict("completion", api=api) is Verdict.CONTRADICTED


def test_hits_prove_the_prefix_cache_unless_they_may_be_somebody_elses() -> None:
    def after(hits: float, others: bool) -> Verdict | None:
        return verdict(
            "prefix_cache_hits", api=replace(API, prefix=PrefixProbe(384, 10, hits, others))
        )

    assert after(266, False) is Verdict.PROVEN
    assert after(10, False) is Verdict.CONTRADICTED
    assert after(266, True) is Verdict.UNKNOWN


def test_a_prefix_cache_that_was_asked_off_has_no_hits_to_prove() -> None:
    settings = replace(ASKED, enable_prefix_caching=False)
    assert check("prefix_cache_hits", settings) is None
    assert verdict("prefix_caching", settings=settings) is Verdict.CONTRADICTED


NAMES = st.sampled_from(["awq", "auto_awq", "awq_marlin", "gptq", "fp8", "auto", "marlin", "x", ""])
SIZES = st.none() | st.sampled_from([0, 1, 8, 1024, -1])
SHARES = st.none() | st.sampled_from([0.0, 0.5, 2.32])
FLAGS = st.none() | st.booleans()


@st.composite
def any_settings(draw: st.DrawFn) -> Settings:
    return Settings(
        name="vllm",
        model=draw(NAMES),
        quantization=draw(st.none() | NAMES),
        kv_cache_dtype=draw(st.none() | NAMES),
        dtype=draw(st.none() | st.sampled_from(["auto", "half"])),
        max_model_len=draw(SIZES),
        max_num_seqs=draw(SIZES),
        gpu_memory_utilization=draw(SHARES),
        enable_prefix_caching=draw(FLAGS),
        enable_chunked_prefill=draw(FLAGS),
        tensor_parallel_size=draw(st.none() | st.integers(1, 4)),
    )


@st.composite
def any_log(draw: st.DrawFn) -> Facts:
    names = ["quantization", "kv_cache_dtype", "linear_kernel", "max_model_len"]
    names += ["available_kv_gib", "kv_cache_tokens", "max_num_seqs", "enable_prefix_caching"]
    return Facts(
        quantization=draw(st.none() | NAMES),
        kv_cache_dtype=draw(st.none() | NAMES),
        linear_kernel=draw(st.none() | NAMES),
        max_model_len=draw(SIZES),
        max_num_seqs=draw(SIZES),
        available_kv_gib=draw(SHARES),
        kv_cache_tokens=draw(SIZES),
        enable_prefix_caching=draw(FLAGS),
        proofs={name: f"line of {name}" for name in draw(st.sets(st.sampled_from(names)))},
    )


@st.composite
def any_api(draw: st.DrawFn) -> ApiFacts:
    hits = st.floats(0, 100)
    why = st.builds(NoAnswer, st.just("silent"), st.booleans())
    return ApiFacts(
        version=draw(st.none() | st.sampled_from(["0.6.3", "0.16.0", "0.32.0", "dev", ""])),
        models=draw(why | st.just(()) | st.just(API.models)),
        cache_config=draw(
            st.dictionaries(
                st.sampled_from(["cache_dtype", "gpu_memory_utilization", "enable_prefix_caching"]),
                st.sampled_from(["fp8", "0.5", "True", "None", "x"]),
            )
        ),
        completion=draw(why | st.just(API.completion)),
        prefix=draw(why | st.builds(PrefixProbe, st.just(384), hits, hits, st.booleans())),
    )


@given(any_settings(), any_settings(), any_log(), any_api(), st.sampled_from([None, LLAMA]))
def test_no_verdict_but_unknown_is_ever_given_without_evidence(
    asked: Settings, running: Settings, log: Facts, api: ApiFacts, shape: ModelShape | None
) -> None:
    for one in verify(asked, Expectations(), log, api, running=running, shape=shape):
        assert one.evidence or one.verdict is Verdict.UNKNOWN
        assert one.note or one.verdict is not Verdict.UNKNOWN


@given(any_settings(), st.sampled_from([None, LLAMA]))
def test_of_a_silent_engine_nothing_is_proven(asked: Settings, shape: ModelShape | None) -> None:
    checks = verify(asked, Expectations(), Facts(), ApiFacts(), shape=shape)
    assert {one.verdict for one in checks} == {Verdict.UNKNOWN}


@given(any_settings(), any_log(), any_api(), st.sampled_from(sorted(LOG.proofs)))
def test_an_item_whose_only_evidence_is_taken_away_is_unknown(
    asked: Settings, log: Facts, api: ApiFacts, name: str
) -> None:
    api = replace(api, cache_config={}, models=NoAnswer("silent"))
    items = {
        "enable_prefix_caching": "prefix_caching",
        "enable_chunked_prefill": "chunked_prefill",
        "available_kv_gib": "kv_bytes_per_token",
        "kv_cache_tokens": "kv_bytes_per_token",
    }
    poorer = verify(asked, Expectations(), without(log, name), api, shape=LLAMA)
    for one in poorer:
        if one.item == items.get(name, name) and one.item != "linear_kernel":
            assert one.verdict is Verdict.UNKNOWN
