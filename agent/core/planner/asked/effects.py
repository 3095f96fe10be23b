# SPDX-License-Identifier: Apache-2.0
"""Which options move a GPU's memory in ways that the plan does not reckon with.

Every option of vLLM 0.33 was gone through (`agent.core.command.options`): those that the plan reads
are in `READ`, those here move memory otherwise, and all others move none of a GPU's. An option that
no known release has is not known either.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Trait(StrEnum):
    """What a model must have for an option to matter."""

    STATES = "recurrent states"
    WINDOWS = "layers of several kinds"
    EXPERTS = "experts"
    IMAGES = "an encoder of images or sound"
    INDEXER = "a sparse indexer"


READ = frozenset(
    {
        *("model", "dtype", "quantization", "kv_cache_dtype", "hf_overrides", "load_format"),
        *("max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization"),
        *("kv_cache_memory_bytes", "num_gpu_blocks_override", "block_size", "enforce_eager"),
        *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
        *("data_parallel_size_local", "decode_context_parallel_size", "enable_expert_parallel"),
        *("enable_prefix_caching", "speculative_config", "spec_model", "spec_method"),
        *("spec_tokens", "enable_lora", "max_loras", "max_lora_rank", "fully_sharded_loras"),
        *("lora_dtype", "max_cpu_loras", "language_model_only", "limit_mm_per_prompt"),
        *("cpu_offload_gb", "kv_offloading_size", "enable_sleep_mode", "mm_ipc_gpu_memory_gb"),
        *("compilation_config", "async_scheduling", "runner", "convert"),
        *("max_cudagraph_capture_size", "mm_encoder_tp_mode", "mamba_ssm_cache_dtype"),
    }
)
"""Options that the plan reads itself."""

POOLED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"runner": ("pooling",), "convert": ("embed", "classify")}
)
"""Options and those of their words that make a model pool."""

NOT_RECKONED: Mapping[str, str] = MappingProxyType(
    {
        "additional_config": "is a plugin's own",
        "cpu_offload_params": "chooses what goes to the host's memory",
        "diffusion_config": "is for models that are not planned",
        "ec_transfer_config": "shares encoders between servers",
        "enable_elastic_ep": "changes the number of GPUs as it runs",
        "enable_eplb": "keeps experts twice",
        "engram_config": "keeps tables beside the model",
        "eplb_config": "keeps experts twice",
        "hf_config_path": "takes another config.json",
        "kv_cache_dtype_skip_layers": "keeps some layers in another format",
        "kv_sharing_fast_prefill": "changes what layers keep",
        "kv_transfer_config": "keeps buffers of its connector",
        "mm_encoder_only": "loads the encoder alone",
        "model_class_overrides": "takes another model's code",
        "model_impl": "takes another model's code",
        "offload_backend": "moves weights to the host's memory",
        "offload_group_size": "moves weights to the host's memory",
        "offload_num_in_group": "moves weights to the host's memory",
        "offload_params": "moves weights to the host's memory",
        "offload_prefetch_step": "moves weights to the host's memory",
        "prefill_context_parallel_size": "splits prompts over GPUs",
        "quantization_config": "sets a format layer by layer",
        "swa_bounded_replay": "changes what windows keep",
        "ubatch_size": "runs several batches at once",
        "use_replayssm": "keeps states in another way",
        "weight_transfer_config": "keeps buffers for new weights",
        "worker_cls": "takes another worker's code",
    }
)
"""Options after which nothing is known, and what they do."""

ONLY_WITH: Mapping[str, tuple[Trait, str]] = MappingProxyType(
    {
        "disable_hybrid_kv_cache_manager": (Trait.WINDOWS, "keeps every layer's tokens whole"),
        "disable_sliding_window": (Trait.WINDOWS, "shortens or widens windows"),
        "enable_dbo": (Trait.EXPERTS, "runs two batches at once"),
        "enable_mixed_moe_lora_format": (Trait.EXPERTS, "keeps adapters in another form"),
        "enable_moe_shared_loras": (Trait.EXPERTS, "keeps adapters in another form"),
        "enable_tower_connector_lora": (Trait.IMAGES, "adapts the encoder, too"),
        "mamba_block_size": (Trait.STATES, "sets the size of their blocks"),
        "mamba_cache_dtype": (Trait.STATES, "sets the format of their states"),
    }
)
"""The same for models of one kind only."""

MOVES_A_LITTLE: Mapping[str, float] = MappingProxyType(
    {
        "all2all_backend": 1.0,
        "attention_backend": 0.5,
        "attention_config": 0.5,
        "disable_custom_all_reduce": 0.2,
        "enable_flashinfer_autotune": 0.3,
        "kernel_config": 0.5,
        "linear_backend": 0.5,
        "media_io_kwargs": 1.0,
        "mm_processor_kwargs": 1.0,
        "moe_backend": 1.0,
        "cudagraph_capture_sizes": 0.5,
        "optimization_level": 0.5,
        "performance_mode": 0.5,
        "skip_mm_profiling": 1.0,
        "sleep_mode_backend": 0.2,
        "video_pruning_rate": 0.5,
    }
)
"""Options that move work spaces: how far they can put the plan off, in GiB of one GPU."""

OF_THE_INDEXER: Mapping[str, str] = MappingProxyType(
    {
        "hisparse_config": "keeps cache in the host's memory",
        "indexer_kv_dtype": "keeps the indexer's keys in another format",
        "use_fp4_indexer_cache": "keeps the indexer's keys in another format",
    }
)
"""Keys of --attention-config that move the cache of models with a sparse indexer (0.24..0.33)."""

WIDENED = "sparse_mla_prefill_workspace_factor"
"""The key of it that says how many widened latents are set aside for each token of the context."""

GRAPHS_ONLY = frozenset(
    {
        *("mode", "level", "backend", "custom_ops", "splitting_ops", "pass_config", "cache_dir"),
        *("cudagraph_mode", "cudagraph_capture_sizes", "max_cudagraph_capture_size"),
        *("use_inductor", "inductor_compile_config", "inductor_passes", "compile_sizes"),
        *("cudagraph_num_of_warmups", "cudagraph_copy_inputs", "debug_dump_path"),
    }
)
"""Keys of --compilation-config that move CUDA graphs and work spaces, not weights or cache."""

GRAPHS_ERROR_GIB = 0.5

VARIABLES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "VLLM_ALLREDUCE_USE_SYMM_MEM": ("0", "keeps buffers for all GPUs"),
        "VLLM_CPU_KVCACHE_SPACE": ("0", "is for a CPU"),
        "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS": ("1", "moves the graphs out of the share"),
        "VLLM_PP_LAYER_PARTITION": ("", "splits the layers otherwise"),
        "VLLM_USE_NCCL_SYMM_MEM": ("0", "keeps buffers for all GPUs"),
        "VLLM_USE_SIMPLE_KV_OFFLOAD": ("0", "moves cache to the host's memory"),
        "VLLM_USE_V1": ("1", "takes the other engine"),
    }
)
"""Environment variables with the value that changes nothing, and what others do."""

KV_WORDS = (
    *("auto", "float16", "bfloat16", "half", "float32", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"),
    *("fp8_ds_mla", "nvfp4_ds_mla", "turboquant_k8v4", "turboquant_4bit_nc", "nvfp4"),
    *("turboquant_k3v4_nc", "turboquant_3bit_nc", "octave_k3v4", "octave_k3v3", "nvfp4_4over6"),
    *("octave_k3v3_compact", "ultraquant_4bit", "int4_per_token_head", "int8_per_token_head"),
    *("fp8_per_token_head", "int8", "int4"),
)
"""What vLLM 0.6..0.33 takes for --kv-cache-dtype (config/cache.py), on any platform."""

KV_SIZED = frozenset(
    {
        *("auto", "float16", "bfloat16", "half", "float32", "fp8", "fp8_e4m3", "fp8_e5m2"),
        *("fp8_inc", "fp8_ds_mla", "nvfp4", "int8", "int4"),
    }
)
"""Those whose bytes a token are reckoned with."""

DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")
"""What vLLM takes for --dtype."""
