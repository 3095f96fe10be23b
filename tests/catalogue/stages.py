# SPDX-License-Identifier: Apache-2.0
"""Where in a server's life the code of a module runs, told by its path and function.

It decides which log is composed around a text, and whether the text can end a start or an engine.
"""

from __future__ import annotations

import re
from enum import StrEnum

from tests.catalogue.texts import CHECK, Text


class Stage(StrEnum):
    """CONFIG to SERVE can end a start or an engine; the others are counted apart.

    REQUEST refuses one request; OFFLINE never runs in a server; OTHER_HARDWARE is not NVIDIA's;
    ABSTRACT is a method that a subclass replaces.
    """

    CONFIG = "config"
    DEVICE = "device"
    LOAD = "load"
    PROFILE = "profile"
    SERVE = "serve"
    REQUEST = "request"
    OFFLINE = "offline"
    OTHER_HARDWARE = "other-hardware"
    ABSTRACT = "abstract"


ENDS = frozenset({Stage.CONFIG, Stage.DEVICE, Stage.LOAD, Stage.PROFILE, Stage.SERVE})

_MODULES: tuple[tuple[str, Stage], ...] = (
    (r"^(?:xgrammar|llguidance|outlines_core|lmformatenforcer)/", Stage.REQUEST),
    (
        r"^(?:compressed_tensors|bitsandbytes|gguf|safetensors|runai_model_streamer)/"
        r"|^transformers/(?:quantizers|integrations|modeling_utils)",
        Stage.LOAD,
    ),
    (
        r"^(?:huggingface_hub|pydantic|tokenizers|tiktoken|openai_harmony|mistral_common"
        r"|prometheus_client|transformers)/",
        Stage.CONFIG,
    ),
    (r"^torch/(?:cuda|distributed)/|^(?:ray|lmcache|nixl\w*|mooncake)/", Stage.DEVICE),
    (
        r"rocm|xpu|tpu\b|tpu_|_tpu|hpu|neuron|openvino|aiter|ipex|pallas|/amd\b|_amd|mi300|zentorch"
        r"|csrc/cpu|/cpu[_/.]|_cpu\b|_cpu[_.]|/mps|zen_cpu|gfx\d",
        Stage.OTHER_HARDWARE,
    ),
    (
        r"^vllm/(?:benchmarks|assets|third_party|snapshot|profiler|usage|spec_decode/metrics)/"
        r"|collect_env|/entrypoints/(?:llm|offline_utils|run_batch|mcp)|/run_batch|/cli/(?:bench|"
        r"collect|openai|launch|preload)|/determinism/|connections\.py|logits_process\.py|/examples/"
        r"|scripts\.py|vllm/version\.py|tensorize_vllm_model",
        Stage.OFFLINE,
    ),
    (
        r"^vllm/(?:tool_parsers|reasoning|parser|sampling_params|pooling_params|inputs|sequence"
        r"|outputs|logprobs|beam_search|renderers|tasks|transformers_utils/(?:detokenizer|chat))"
        r"|/v1/engine/(?:input_)?processor|/v1/pool/|/structured_output/|guided_decoding|/tool_server"
        r"|/v1/(?:request|outputs)\.py|/entrypoints/(?!api_server|launcher|cli|ssl|utils|constants|grpc"
        r"|launchers|openai/(?:api_server|cli_args|server_utils|rpc|run_server)|serve/(?:launcher|utils/"
        r"server))|multimodal/(?:media|parse|hasher|utils|audio|image|video|inputs|base)|/logits_proc"
        r"|/v1/watermarking|/adapter_commons",
        Stage.REQUEST,
    ),
    (
        r"^vllm/(?:config|engine/(?!.*(?:llm_engine|multiprocessing|output))|platforms|envs|plugins"
        r"|transformers_utils|tokenizers|env_override|entrypoints|tracing|logger|__init__|_core|logging)"
        r"|/models/(?:registry|config|interfaces)\b|model_executor/hw_agnostic",
        Stage.CONFIG,
    ),
    (
        r"^vllm/distributed/(?:parallel_state|device_communicators|utils|stateless|communication_op|"
        r"elastic_ep|nixl_utils)|/v1/executor/|^vllm/executor/|/worker_base|/numa|/ray/",
        Stage.DEVICE,
    ),
    (
        r"^vllm/(?:v1/(?:core|engine|kv_offload|simple_kv_offload|metrics|hisparse|serial_utils|utils)"
        r"|core/|engine/|distributed/|block)",
        Stage.SERVE,
    ),
    (
        r"/ops/|/ops\.py|cute_?dsl|_kernels?\b|triton_kernels",
        Stage.PROFILE,
    ),
    (
        r"/model_loader/|^vllm/models?/|model_executor/(?:models|layers|parameter|offloader|utils|"
        r"custom_op|kernels)|^vllm/(?:lora|multimodal|prompt_adapter|device_allocator|kernels)",
        Stage.LOAD,
    ),
)
_ASKED = frozenset({"KeyboardInterrupt", "SystemExit", "StopIteration", "StopAsyncIteration"})
"""Not raised for a fault."""

_RULES = tuple((re.compile(pattern), stage) for pattern, stage in _MODULES)
_STARTING = re.compile(
    r"^(?:__init__|__post_init__|from_\w+|register\w*|init\w*|_init\w*|create\w*|bind\w*|start\w*"
    r"|_?validate\w*|_?check\w*|_?verify\w*|get_kv_cache_config\w*|initialize\w*|_initialize\w*"
    r"|setup\w*|_setup\w*|build_\w+|make_\w+|run_engine_core|wait_for\w*|_?get_connector\w*"
    r"|<module>|build|_?(?:auto_fit|derive|ensure|measure|normalize|partition|positive|probe|promote"
    r"|resolve|unify)_\w+|_?get_\w*(?:kv_cache_groups|page_size|executor_cls|host_pool_bytes|tier_class"
    r"|mem_pool_context|required_kvcache_layout|manager|gpu_ids\w*|rnic|preferred_segment|addr"
    r"|tokenizer_group)|load_from_env|load_stat_\w+|launch_\w+engines|_parse_size|_bind|configured"
    r"|offset_endpoint_port|_create_(?:mem_pool|pynccl)|_set_assigned\w*|_wait_for_(?:zmq|engine)\w*"
    r"|gather_actual\w*|append_hot_group|_\w+_registration_ranges|_pool_bytes\w*"
    r"|allocate_stateless\w*|_compute_encoder_budget\w*)$"
)
"""Functions of modules that serve, which a start calls."""

_RUNNING = re.compile(
    r"^(?:_?forward\w*|_?apply\w*|__call__|_?embed\w*|get_multimodal\w*|_?run\w*|compute\w*|_?attn\w*"
    r"|\w*_kernel|_?invoke\w*|_?fused\w*|\w*_fake|\w*_impl|\w*gemm\w*|\w*_mm|_?process_\w+_input\w*"
    r"|_?encode\w*|_process_\w+|_apply_hf\w*|_?parse_and_validate\w*|prepare\w*|finalize\w*|_?call\w*|shrink|expand|\w*_op)$"
)
_WEIGHTS = re.compile(r"weight|load|shard|create|^from_")


def stage_of(text: Text) -> Stage:
    """Return the stage of a text; whatever no rule knows runs while vLLM profiles."""
    if text.abstract:
        return Stage.ABSTRACT
    if text.name in _ASKED:
        return Stage.OFFLINE
    stage = next((stage for rule, stage in _RULES if rule.search(text.module)), Stage.PROFILE)
    if stage is Stage.SERVE and _STARTING.match(text.function):
        return Stage.DEVICE
    if stage is Stage.LOAD and text.kind != CHECK and _RUNNING.match(text.function):
        return Stage.LOAD if _WEIGHTS.search(text.function) else Stage.PROFILE
    if stage is Stage.REQUEST and text.function in ("__init__", "__post_init__", "<module>"):
        at_start = re.search(r"renderers|multimodal|structured_output", text.module)
        return Stage.CONFIG if at_start else stage
    return stage
