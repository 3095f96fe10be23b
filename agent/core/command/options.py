# SPDX-License-Identifier: Apache-2.0
"""vLLM's options and what each of them takes.

Read off the parser of `vllm serve` 0.33.0 (`make_arg_parser`, 321 options); 0.32.0 has the same
names but for the negatives that pair --enable-x with --disable-x, and five that came with 0.33.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What an option takes; `UNKNOWN` for one that is not in these lists."""

    PAIRED = "a switch with a negative"
    ALONE = "a switch"
    WHOLE = "a whole number"
    SIZE = "a whole number, as 4096, 32k or 32K"
    LENGTH = "a number of tokens, as 4096, 32k, 32K, auto or -1"
    REAL = "a number"
    TABLE = "JSON"
    MANY = "one word or several"
    TEXT = "one word"
    UNKNOWN = "unknown"


_PAIRED = """
    allow-credentials allow-deprecated-quantization async-scheduling cohere-is-reasoning-model
    cudagraph-metrics data-parallel-external-lb data-parallel-hybrid-lb dcp-q-replicate
    disable-cascade-attn disable-chunked-mm-input disable-custom-all-reduce disable-fastapi-docs
    disable-hybrid-kv-cache-manager disable-nccl-for-dp-synchronization disable-sliding-window
    disable-uvicorn-access-log enable-auto-tool-choice enable-batch-sharded-sampling
    enable-chunked-prefill enable-cumem-allocator enable-dbo enable-elastic-ep
    enable-ep-weight-filter enable-eplb enable-expert-parallel enable-fault-tolerance
    enable-flash-late-interaction enable-flashinfer-autotune enable-force-include-usage
    enable-hc-sp enable-layerwise-nvtx-tracing enable-log-deltas enable-log-outputs
    enable-log-requests enable-logging-iteration-details enable-lora
    enable-mamba-cache-stochastic-rounding enable-mamba-shared-prefix-checkpoint
    enable-mfu-metrics enable-mixed-moe-lora-format enable-mm-embeds enable-moe-shared-loras
    enable-nccl-comm-suspend enable-offline-docs enable-per-request-metrics
    enable-prefix-caching enable-prompt-embeds enable-prompt-tokens-details
    enable-request-id-headers enable-return-routed-experts enable-scale-out
    enable-server-load-tracking enable-shm-tensor-arena enable-sleep-mode enable-ssl-refresh
    enable-tokenizer-info-endpoint enable-tower-connector-lora enable-trace-replay enforce-eager
    exclude-tools-when-tool-choice-none fail-on-environ-validation fully-sharded-loras
    interleave-mm-strings jit-monitor-verbose kv-cache-metrics kv-sharing-fast-prefill
    language-model-only log-error-stack long-prefill-token-threshold-adaptive
    mm-device-do-normalize mm-encoder-only monokernel numa-bind ray-workers-use-nsight
    return-sampling-mask return-tokens-as-token-ids scheduler-reserve-full-isl skip-mm-profiling
    skip-tokenizer-init sleep-mode-offload-cudagraph specialize-active-lora swa-bounded-replay
    tokens-only trust-remote-code trust-request-chat-template trust-request-mm-kwargs
    use-fp64-gumbel use-replayssm use-tqdm-on-load
"""
"""Switches with a negative: `--no-x`, and since 0.33 `--disable-x` for `--enable-x`."""

_ALONE = """
    aggregate-engine-logging data-parallel-multi-port-external-lb disable-log-stats grpc
    headless
"""
"""Switches without one."""

_WHOLE = """
    api-server-count block-size cp-kv-cache-interleave-size cpu-distributed-timeout-seconds
    data-parallel-rank data-parallel-rpc-port data-parallel-size data-parallel-size-local
    data-parallel-start-rank data-parallel-supervisor-port dbo-decode-token-threshold
    dbo-prefill-token-threshold dcp-kv-cache-interleave-size decode-context-parallel-size
    distributed-timeout-seconds dp-supervisor-probe-failure-threshold dp-sync-interval
    elastic-ep-max-dp-size grpc-port h11-max-header-count h11-max-incomplete-event-size
    long-prefill-token-threshold mamba-block-size mamba-cache-philox-rounds master-port
    max-cpu-loras max-cudagraph-capture-size max-log-len max-logprobs max-lora-cls-labels
    max-lora-rank max-loras max-num-active-seqs max-num-queued-reqs max-num-seqs
    max-parallel-loading-workers mm-shm-cache-max-object-size-mb nnodes node-rank
    num-gpu-blocks-override offload-group-size offload-num-in-group offload-prefetch-step
    pipeline-parallel-size port prefill-context-parallel-size prefill-schedule-interval
    prefix-cache-retention-interval prefix-match-unit renderer-num-workers replayssm-buffer-len
    safetensors-prefetch-num-threads seed shutdown-timeout spec-tokens sse-keep-alive-interval
    ssl-cert-reqs stream-interval tensor-parallel-size ubatch-size
"""
"""Options that take a whole number."""

_SIZES = """
    kv-cache-memory-bytes max-num-batched-tokens max-num-queued-tokens max-num-scheduled-tokens
    safetensors-prefetch-block-size
"""
"""Options that take a whole number, also as 32k (thousands) or 32K (of 1024)."""

_LENGTHS = """
    max-model-len
"""
"""The same, and "auto" or -1 for what fits."""

_REAL = """
    cpu-offload-gb dp-supervisor-probe-interval-s dp-supervisor-probe-timeout-s
    gpu-memory-utilization kv-cache-metrics-sample kv-offloading-size
    mm-encoder-fp8-scale-save-margin mm-ipc-gpu-memory-gb mm-processor-cache-gb
    video-pruning-rate watermark
"""
"""Options that take a number."""

_TABLES = """
    additional-config allowed-headers allowed-methods allowed-origins attention-config
    aux-output-config compilation-config custom-histogram-buckets default-chat-template-kwargs
    default-mm-loras diffusion-config ec-manager-config ec-transfer-config engram-config
    eplb-config fault-tolerance-config hf-overrides ir-op-priority kernel-config
    kv-events-config kv-transfer-config limit-mm-per-prompt logging-config media-io-kwargs
    mm-processor-kwargs model-class-overrides model-loader-extra-config
    override-generation-config pooler-config profiler-config pt-load-map-location
    quantization-config reasoning-config reasoning-effort-map speculative-config
    structured-outputs-config watchdog-config watermark-config weight-transfer-config
"""
"""Options that take JSON, or its keys apart: `--speculative-config.model x`."""

_MANY = """
    allowed-media-domains api-key collect-detailed-traces cpu-offload-params
    cudagraph-capture-sizes ignore-patterns kv-cache-dtype-skip-layers logits-processors
    lora-modules lora-target-modules numa-bind-cpus numa-bind-nodes offload-params
    served-model-name sleep-preserve-parameter-names
"""
"""Options that take one value or several."""

_TEXT = """
    all2all-backend allowed-local-media-path anthropic-disabled-thinking-effort
    attention-backend chat-template chat-template-content-format code-revision cohere-format
    config config-format convert data-parallel-address data-parallel-backend dcp-comm-backend
    device-ids disable-access-log-for-endpoints distributed-executor-backend download-dir dtype
    expert-placement-strategy fingerprint-mode fingerprint-value gdn-prefill-backend
    generation-config hf-config-path hf-token host io-processor-plugin jit-monitor-mode
    kda-decode-backend kda-prefill-backend kv-cache-dtype kv-offloading-backend linear-backend
    load-format log-config-file log-level logprobs-mode lora-dtype mamba-backend
    mamba-cache-dtype mamba-cache-mode mamba-ssm-cache-dtype mamba-ssu-algorithm master-addr
    middleware mm-encoder-attn-backend mm-encoder-attn-dtype mm-encoder-fp8-scale-path
    mm-encoder-fp8-scale-save-path mm-encoder-tp-mode mm-hasher-algorithm
    mm-processor-cache-type mm-processor-device mm-tensor-ipc model model-impl moe-backend
    offload-backend optimization-level otlp-traces-endpoint per-request-spec-decode-metrics
    performance-mode prefix-caching-hash-algo quantization reasoning-parser
    reasoning-parser-plugin response-role revision root-path runner safetensors-load-strategy
    scheduler-cls scheduling-policy show-hidden-metrics-for-version sleep-mode-backend
    sparse-indexer-topk-backend spec-method spec-model ssl-ca-certs ssl-certfile ssl-ciphers
    ssl-keyfile tokenizer tokenizer-mode tokenizer-revision tool-call-parser tool-parser-plugin
    tool-server tool-strict-level uds uvicorn-log-level video-pruning-method worker-cls
    worker-extension-cls
"""
"""Options that take one word."""

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        name.replace("-", "_"): kind
        for names, kind in (
            (_PAIRED, Kind.PAIRED),
            (_ALONE, Kind.ALONE),
            (_WHOLE, Kind.WHOLE),
            (_SIZES, Kind.SIZE),
            (_LENGTHS, Kind.LENGTH),
            (_REAL, Kind.REAL),
            (_TABLES, Kind.TABLE),
            (_MANY, Kind.MANY),
            (_TEXT, Kind.TEXT),
        )
        for name in names.split()
    }
)
"""What each option takes, under vLLM's own name for its value: `tensor_parallel_size`."""

GONE = frozenset(
    {
        *("calculate_kv_scales", "disable_async_output_proc", "disable_frontend_multiprocessing"),
        *("disable_mm_preprocessor_cache", "enable_lora_bias", "enable_prompt_adapter"),
        *("enable_reasoning", "multi_step_stream_outputs", "use_v2_block_manager"),
        *("enable_multimodal_encoder_data_parallel", "expand_tools_even_if_tool_choice_none"),
        *(
            "guided_decoding_disable_additional_properties",
            "guided_decoding_disable_any_whitespace",
        ),
        *("guided_decoding_disable_fallback", "worker_use_ray", "eplb_log_balancedness"),
        *("enable_bf16x3_router_gemm", "enable_mamba_fine_grained_prefix_cache"),
        *("speculative_disable_mqa_scorer",),
    }
)
"""Switches of older releases (0.6..0.27) that 0.33 has no more."""

GONE_AND_BEGUN = frozenset({"device"})
"""Options with a value of older releases (0.6..0.9) with which the names of newer ones begin."""

ALSO: Mapping[str, str] = MappingProxyType({"device_memory_utilization": "gpu_memory_utilization"})
"""Second names of an option (0.31..0.33)."""

SHORT: Mapping[str, str] = MappingProxyType(
    {
        "-ac": "attention_config",
        "-asc": "api_server_count",
        "-cc": "compilation_config",
        "-O": "compilation_config",  # before a key, to 0.12; alone it is a level
        "-dc": "diffusion_config",
        "-dcp": "decode_context_parallel_size",
        "-dp": "data_parallel_size",
        "-dpa": "data_parallel_address",
        "-dpb": "data_parallel_backend",
        "-dpe": "data_parallel_external_lb",
        "-dph": "data_parallel_hybrid_lb",
        "-dpl": "data_parallel_size_local",
        "-dpm": "data_parallel_multi_port_external_lb",
        "-dpn": "data_parallel_rank",
        "-dpp": "data_parallel_rpc_port",
        "-dpr": "data_parallel_start_rank",
        "-ep": "enable_expert_parallel",
        "-n": "nnodes",
        "-pcp": "prefill_context_parallel_size",
        "-pp": "pipeline_parallel_size",
        "-q": "quantization",
        "-r": "node_rank",
        "-sc": "speculative_config",
        "-tp": "tensor_parallel_size",
    }
)
"""vLLM's short names."""
