# SPDX-License-Identifier: Apache-2.0
"""What every era of vLLM says of itself: versions, facts, fallbacks, failures of the V0 engine."""

from __future__ import annotations

import pytest

from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from tests.given.engine_logs import SERVING, diagnose, read

F = FailureClass

V0_6 = """
INFO 11-12 10:00:00 api_server.py:528] vLLM API server version 0.6.3.post1
INFO 11-12 10:00:00 api_server.py:529] args: Namespace(host=None, port=8000, model='/srv/m', gpu_memory_utilization=0.85, max_num_seqs=128, max_num_batched_tokens=None)
INFO 11-12 10:00:05 awq_marlin.py:90] The model is convertible to awq_marlin during runtime. Using awq_marlin kernel.
INFO 11-12 10:00:05 llm_engine.py:237] Initializing an LLM engine (v0.6.3.post1) with config: model='/srv/m', speculative_config=None, tokenizer='/srv/m', dtype=torch.float16, max_seq_len=2048, load_format=LoadFormat.AUTO, tensor_parallel_size=1, quantization=awq_marlin, enforce_eager=False, kv_cache_dtype=auto, device_config=cuda, seed=0, served_model_name=m, use_v2_block_manager=True, enable_prefix_caching=False, chunked_prefill_enabled=False
INFO 11-12 10:00:06 model_runner.py:1060] Starting to load model /srv/m...
INFO 11-12 10:00:06 selector.py:1] Using Flash Attention backend.
INFO 11-12 10:00:16 model_runner.py:1071] Loading model weights took 5.3441 GB
INFO 11-12 10:00:20 gpu_executor.py:122] # GPU blocks: 1330, # CPU blocks: 2048
INFO 11-12 10:00:20 gpu_executor.py:126] Maximum concurrency for 2048 tokens per request: 10.39x
INFO 11-12 10:00:24 model_runner.py:1402] Capturing the model for CUDA graphs. This may lead to unexpected consequences if the model is not static.
INFO 11-12 10:00:38 model_runner.py:1530] Graph capturing finished in 14 secs.
INFO 11-12 10:00:39 launcher.py:19] Available routes are:
INFO:     Application startup complete.
INFO 11-12 10:00:49 metrics.py:349] Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 12.1 tokens/s, Running: 1 reqs, Swapped: 0 reqs, Pending: 0 reqs, GPU KV cache usage: 0.1%, CPU KV cache usage: 0.0%.
"""  # noqa: E501

V1_26 = """
(APIServer pid=1) INFO 11-21 03:05:00 [api_utils.py:1]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.26.0
(APIServer pid=1) INFO 11-21 03:05:00 [api_utils.py:1] non-default args: {'model': '/srv/m', 'max_model_len': 8192, 'gpu_memory_utilization': 0.88, 'max_num_seqs': 32, 'quantization': 'awq', 'kv_cache_dtype': 'fp8'}
(APIServer pid=1) INFO 11-21 03:05:00 [model.py:1] Resolved architecture: LlamaForCausalLM
(APIServer pid=1) INFO 11-21 03:05:00 [cache.py:1] Using fp8 data type to store kv cache. It reduces the GPU memory footprint and boosts the performance.
(APIServer pid=1) INFO 11-21 03:05:00 [scheduler.py:1] Chunked prefill is enabled with max_num_batched_tokens=2048.
(EngineCore pid=42) INFO 11-21 03:05:10 [core.py:97] Initializing a V1 LLM engine (v0.26.0) with config: model='/srv/m', dtype=torch.bfloat16, max_seq_len=8192, load_format=auto, tensor_parallel_size=2, pipeline_parallel_size=1, data_parallel_size=1, quantization=auto_awq, quantization_config=None, enforce_eager=False, kv_cache_dtype=fp8, device_config=cuda, seed=0, served_model_name=m, enable_prefix_caching=True, enable_chunked_prefill=True
(Worker_TP0 pid=50) INFO 11-21 03:05:12 [gpu_model_runner.py:1] Starting to load model /srv/m...
(Worker_TP0 pid=50) INFO 11-21 03:05:12 [auto_awq.py:1] Using MarlinLinearKernel for AutoAWQMarlinLinearMethod
(Worker_TP0 pid=50) INFO 11-21 03:05:12 [cuda.py:1] Using FLASHINFER attention backend out of potential backends: ['FLASHINFER', 'TRITON_ATTN'].
(Worker_TP0 pid=50) INFO 11-21 03:05:20 [default_loader.py:1] Loading weights took 7.90 seconds
(Worker_TP0 pid=50) INFO 11-21 03:05:21 [gpu_model_runner.py:1] Model loading took 2.75 GiB memory and 9.100000 seconds
(Worker_TP0 pid=50) INFO 11-21 03:05:40 [monitor.py:1] torch.compile took 15.20 s in total
(Worker_TP0 pid=50) INFO 11-21 03:05:45 [gpu_model_runner.py:1] Estimated CUDA graph memory: 0.61 GiB total
(Worker_TP0 pid=50) INFO 11-21 03:05:45 [gpu_worker.py:1] Available KV cache memory: 8.00 GiB
(EngineCore pid=42) INFO 11-21 03:05:45 [kv_cache_utils.py:1] GPU KV cache size: 131,072 tokens
(EngineCore pid=42) INFO 11-21 03:05:45 [kv_cache_utils.py:1] Maximum concurrency for 8,192 tokens per request: 16.00x
(Worker_TP0 pid=50) INFO 11-21 03:05:55 [gpu_model_runner.py:1] Graph capturing finished in 10 secs, took 0.58 GiB
(EngineCore pid=42) INFO 11-21 03:05:56 [core.py:1] init engine (profile, create kv cache, warmup model) took 35.00 s (compilation: 15.20 s)
(APIServer pid=1) INFO 11-21 03:05:57 [entry.py:1] Starting vLLM server on http://0.0.0.0:8000
"""  # noqa: E501


def test_the_first_era_tells_its_facts() -> None:
    found = diagnose(V0_6)
    facts = found.facts
    assert (found.outcome, found.vllm_version) == (Outcome.READY, "0.6.3.post1")
    assert (facts.quantization, facts.linear_kernel) == ("awq_marlin", "awq_marlin")
    assert (facts.attention_backend, facts.weights_gib) == ("FLASH_ATTN", 5.3441)
    assert (facts.kv_cache_tokens, facts.max_concurrency) == (21280, 10.39)
    assert (facts.gpu_memory_utilization, facts.max_num_seqs) == (0.85, 128)
    assert (facts.dtype, facts.max_model_len, facts.device) == ("float16", 2048, "cuda")
    assert (facts.enable_prefix_caching, facts.enable_chunked_prefill) == (False, False)


def test_the_last_era_tells_its_facts() -> None:
    facts = diagnose(V1_26).facts
    assert (facts.quantization, facts.linear_kernel) == ("auto_awq", "MarlinLinearKernel")
    assert (facts.kv_cache_dtype, facts.attention_backend) == ("fp8", "FLASHINFER")
    assert (facts.weights_gib, facts.available_kv_gib) == (2.75, 8.0)
    assert (facts.kv_cache_tokens, facts.max_concurrency) == (131072, 16.0)
    assert (facts.max_num_seqs, facts.max_num_batched_tokens) == (32, 2048)
    assert (facts.tensor_parallel_size, facts.engine) == (2, "V1")
    assert (facts.cuda_graph_gib, facts.cuda_graph_estimate_gib) == (0.58, 0.61)
    assert (facts.compile_seconds, facts.init_seconds, facts.load_seconds) == (15.2, 35.0, 9.1)
    assert facts.address == "http://0.0.0.0:8000"


def test_every_fact_has_the_line_that_proves_it() -> None:
    facts = diagnose(V1_26).facts
    for name, value in facts.values().items():
        if value is not None:
            assert facts.evidence_for(name), name
    proof = facts.evidence_for("kv_cache_dtype") or ""
    assert "kv_cache_dtype=fp8" in proof
    assert len(proof) < 200


def test_none_as_printed_is_told_from_not_printed() -> None:
    facts = diagnose(SERVING).facts
    assert facts.quantization is None
    assert "quantization=None" in (facts.evidence_for("quantization") or "")
    assert diagnose("hello").facts.evidence_for("quantization") is None


def test_the_one_line_form_of_the_cache_size_is_read_whole() -> None:
    facts = diagnose(
        "GPU KV cache size: 132,128 tokens, Maximum concurrency for 8,192 tokens per request: 16.1x"
    ).facts
    assert (facts.kv_cache_tokens, facts.max_concurrency) == (132128, 16.1)


def test_the_v0_memory_lines_give_weights_and_cache() -> None:
    facts = diagnose(
        "INFO 11-12 10:00:20 [worker.py:267] the current vLLM instance can use total_gpu_memory "
        "(22.07GiB) x gpu_memory_utilization (0.90) = 19.86GiB\n"
        "INFO 11-12 10:00:20 [worker.py:267] model weights take 14.99GiB; non_torch_memory takes "
        "0.05GiB; PyTorch activation peak memory takes 0.22GiB; the rest of the memory reserved "
        "for KV Cache is 4.60GiB."
    ).facts
    assert (facts.weights_gib, facts.available_kv_gib) == (14.99, 4.6)
    assert (facts.total_gib, facts.gpu_memory_utilization) == (22.07, 0.9)


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("WARNING 11-12 10:00:00 awq_marlin.py:95] Detected that the model can run with "
         "awq_marlin, however you specified quantization=awq explicitly, so forcing awq. Use "
         "quantization=awq_marlin for faster inference", F.FALLBACK_AWQ_FORCED),
        ("WARNING 11-21 03:05:00 [marlin_utils_fp8.py:54] Your GPU does not have native support "
         "for FP8 computation but FP8 quantization is being used.", F.FALLBACK_FP8_MARLIN),
        ("INFO 11-21 03:05:00 [x.py:5] Selected MarlinFP8ScaledMMLinearKernel for Fp8LinearMethod",
         F.FALLBACK_FP8_MARLIN),
        ("WARNING 11-21 03:05:00 [arg_utils.py:1] --kv-cache-dtype is not supported by the V1 "
         "Engine. Falling back to V0.", F.FALLBACK_V1_TO_V0_FP8KV),
        ("INFO 11-12 10:00:00 selector.py:1] Cannot use FlashAttention-2 backend for FP8 KV cache.",
         F.FALLBACK_ATTN_XFORMERS),
    ],
)  # fmt: skip
def test_a_fallback_makes_a_running_server_degraded(line: str, failure: FailureClass) -> None:
    found = diagnose(f"{line}\n{SERVING}")
    assert (found.outcome, found.failure) == (Outcome.DEGRADED, failure)
    assert found.evidence


def test_a_fallback_does_not_hide_a_failure() -> None:
    found = diagnose(
        "--kv-cache-dtype is not supported by the V1 Engine. Falling back to V0.\n"
        "ValueError: The model's max seq len (131072) is larger than the maximum number of tokens "
        "that can be stored in KV cache (37728). Try increasing `gpu_memory_utilization`."
    )
    assert found.failure is F.OOM_KV_TOO_SMALL_FOR_MAXLEN
    assert found.numbers.kv_tokens == 37728
    assert found.also == (F.FALLBACK_V1_TO_V0_FP8KV,)


def test_the_v0_engine_reports_its_own_hang() -> None:
    found = diagnose(
        V0_6 + "ERROR 11-12 11:00:00 client.py:250] TimeoutError: No heartbeat received from "
        "MQLLMEngine\n"
        "CRITICAL 11-12 11:00:01 launcher.py:101] MQLLMEngine is already dead, terminating server "
        "process"
    )
    assert found.failure is F.ENGINE_HUNG


def test_the_v0_wrapper_is_no_cause() -> None:
    found = diagnose(
        "INFO 11-12 10:00:06 model_runner.py:1060] Starting to load model /srv/m...\n"
        "ERROR 11-12 10:00:10 engine.py:366] CUDA out of memory. Tried to allocate 1.16 GiB. GPU 0 "
        "has a total capacity of 14.74 GiB of which 970.12 MiB is free.\n"
        "RuntimeError: Engine process failed to start. See stack trace for the root cause."
    )
    assert found.failure is F.OOM_WEIGHTS_LOAD
    assert found.also == (F.ENGINE_DEAD,)


def test_a_line_number_names_the_version_when_nothing_else_does() -> None:
    start = "(EngineCore_DP0 pid=7) ERROR 11-21 03:05:45 [core.py:1006] EngineCore failed to start."
    assert diagnose(start).vllm_version == "0.16.0"
    fatal = "ERROR 11-21 03:05:45 [core.py:398] EngineCore encountered a fatal error."
    assert diagnose(fatal).vllm_version == "0.8.5"


def test_progress_of_a_download_counts_as_activity() -> None:
    reader = read("Fetching 5 files:   0%|          | 0/5 [00:00<?, ?it/s]")
    first = reader.activity
    reader.feed("Fetching 5 files:  40%|████      | 2/5 [00:10<00:15,  5.0s/it]")
    assert reader.activity > first
    assert reader.phase is EnginePhase.DOWNLOADING
    assert reader.progress is not None
    assert reader.progress.done == 0.4


def test_bars_that_share_a_line_are_read_to_the_last() -> None:
    bars = "\r".join(
        f"Loading safetensors checkpoint shards: {n * 10:3d}% Completed | {n}/10 [00:01<00:01]"
        for n in range(10)
    )
    reader = read([bars])
    assert reader.progress is not None
    assert (reader.progress.done, reader.progress.detail) == (0.9, "9/10")
    assert reader.activity == 10


def test_ready_ends_with_the_engine() -> None:
    reader = read(SERVING)
    assert reader.ready
    reader.feed("Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.")
    assert not reader.ready


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        (
            "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 172.00 MiB (GPU 0; "
            "14.75 GiB total capacity; 13.34 GiB already allocated; 54.81 MiB free; 9 GiB held)",
            {"tried_gib": 0.168, "gpu": 0, "total_gib": 14.75, "free_gib": 0.0535},
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB. GPU 1 has a "
            "total capacity of 23.53 GiB of which 512.00 MiB is free. Process 99 has 2.00 GiB "
            "memory in use. Of the allocated memory 20 GiB is allocated by PyTorch, and 1.50 GiB "
            "is reserved by PyTorch but unallocated.",
            {"tried_gib": 1.0, "gpu": 1, "total_gib": 23.53, "free_gib": 0.5, "neighbour_gib": 2.0,
             "neighbour_pid": 99, "reserved_gib": 1.5, "allocated_gib": 20.0},
        ),
        (
            "AssertionError: Error in memory profiling. Initial free memory 84409778176, current "
            "free memory 84531412992.",
            {"initial_free_gib": 78.6127, "free_gib": 78.726},
        ),
        (
            "AssertionError: Error in memory profiling. Initial free memory 7.55 GiB, current free "
            "memory 8.31 GiB.",
            {"initial_free_gib": 7.55, "free_gib": 8.31},
        ),
        (
            "ValueError: The model's max seq len (16384) is larger than the maximum number of "
            "tokens that can be stored in KV cache (9088).",
            {"max_model_len": 16384, "kv_tokens": 9088, "estimated_max_model_len": 9088},
        ),
        (
            "ValueError: The quantization method awq is not supported for the current GPU. Minimum "
            "capability: 75. Current capability: 70.",
            {"minimum_capability": 75, "capability": 70},
        ),
        (
            "ValueError: User-specified max_model_len (9000) is greater than the derived "
            "max_model_len (max_position_embeddings=2048.0 or model_max_length=None).",
            {"max_model_len": 9000, "derived_max_model_len": 2048},
        ),
        (
            "RuntimeError: Insufficient space in /dev/shm for shared-memory allocation: 160 MiB "
            "required, 3 MiB free.",
            {"required_mib": 160.0, "free_mib": 3.0},
        ),
    ],
)  # fmt: skip
def test_the_numbers_beside_a_failure_are_read_in_the_units_of_their_era(
    line: str, numbers: dict[str, float]
) -> None:
    assert diagnose(line).numbers.printed() == numbers
