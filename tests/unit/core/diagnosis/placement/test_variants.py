# SPDX-License-Identifier: Apache-2.0
"""Failures of other models, versions, kernels and phases than those that signatures were made for.

Essential lines, reproduced in our own words after public issue threads of vLLM, FlashInfer, Triton,
torch and the DGX Spark community of 2025 and 2026. FIRST was looked at while the rules were made;
SECOND was measured before any rule was changed for it.
"""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from agent.core.failures.classes import FailureClass
from tests.given.engine_logs import (
    CAPTURING,
    DEATH_AT_START,
    LOADING,
    PROFILING,
    SERVING,
    STARTING,
    WARMING,
    diagnose,
    v1,
)

F = FailureClass
SITE = "/usr/local/lib/python3.12/dist-packages"
FATAL = "EngineCore encountered a fatal error."
FAILED = "EngineCore failed to start."


def trace(*frames: str, end: str, head: str = FAILED) -> str:
    """Return what a process prints as it dies: a traceback through `frames`, "path:function"."""
    lines = [head, "Traceback (most recent call last):"]
    for item in frames:
        path, _, rest = item.partition(":")
        function, _, code = rest.partition("|")
        lines.append(f'  File "{SITE}/{path}", line 311, in {function}')
        lines.append(f"    {code or 'result = call(*args)'}")
    return v1("\n".join([*lines, end]), level="ERROR")


def start(before: str, *frames: str, end: str) -> str:
    return f"{before}\n{trace(*frames, end=end)}{DEATH_AT_START}"


def work(*frames: str, end: str) -> str:
    return f"{SERVING}\n{trace(*frames, end=end, head=FATAL)}"


WORKER = "vllm/v1/worker/gpu_worker.py:compile_or_warm_up_model"
RUNNER = "vllm/v1/worker/gpu_model_runner.py:_dummy_run"
Case = tuple[str, set[FailureClass], bool | None]

FIRST: dict[str, Case] = {
    "rotary by Triton on a GPU that its ptxas does not know": (
        start(PROFILING, WORKER, "vllm/vllm_flash_attn/ops/triton/rotary.py:apply_rotary", "triton/backends/nvidia/compiler.py:make_cubin", end="triton.runtime.errors.PTXASError: PTXAS error: Internal Triton PTX codegen error\n`ptxas` stderr:\nptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'"),
        {F.NO_KERNEL_IMAGE, F.DRIVER_TOO_OLD, F.KERNEL_LIBRARY}, False),
    "block scaled FP8 on Blackwell": (
        start(PROFILING, RUNNER, "vllm/model_executor/layers/quantization/utils/fp8_utils.py:cutlass_scaled_mm", "vllm/_custom_ops.py:cutlass_scaled_mm", end="RuntimeError: Currently, block scaled fp8 gemm is not implemented for Blackwell"),
        {F.FP8_KERNEL_UNSUPPORTED, F.KERNEL_LIBRARY}, False),
    "kernels and transformers disagree": (
        start("", "transformers/integrations/hub_kernels.py:<module>", "kernels/layer/layer.py:__init__", end="ValueError: Either a revision or a version must be specified."),
        {F.PACKAGE_MISMATCH}, False),
    "two versions of flashinfer": (
        start(STARTING, "vllm/utils/flashinfer.py:has_flashinfer_comm", "flashinfer/jit/env.py:check", end="RuntimeError: flashinfer-cubin version (0.6.13) does not match flashinfer version (0.6.14). Please install the same version of both packages. Set FLASHINFER_DISABLE_VERSION_CHECK=1 to bypass this check."),
        {F.PACKAGE_MISMATCH}, False),
    "a sampler OOM in a container": (
        v1("RuntimeError: CUDA out of memory occurred when warming up sampler with 256 dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.", level="ERROR"),
        {F.OOM_SAMPLER_WARMUP}, False),
    "NVML does not know the memory of unified cards": (
        start(STARTING, "vllm/platforms/cuda.py:get_device_total_memory", "vllm/third_party/pynvml.py:nvmlDeviceGetMemoryInfo", end="vllm.third_party.pynvml.NVMLError_NotSupported: Not Supported"),
        {F.ENGINE_BUG, F.NO_GPU}, False),
    "an assertion in FlashInfer's wrapper": (
        start(CAPTURING, WORKER, "vllm/v1/attention/backends/flashinfer.py:build", "flashinfer/decode.py:plan|assert qo_indptr[-1] == nnz", end="AssertionError"),
        {F.KERNEL_LIBRARY}, False),
    "GDN kernels": (
        start(CAPTURING, RUNNER, "vllm/model_executor/layers/fla/ops/chunk_delta_h.py:chunk_gated_delta_rule_fwd_h", "triton/runtime/autotuner.py:run", end="RuntimeError: Triton Error [CUDA]: an illegal instruction was encountered"),
        {F.KERNEL_LIBRARY, F.CUDA_ILLEGAL_MEMORY_ACCESS}, None),
    "a LoRA kernel with a rank that it does not take": (
        start(CAPTURING, RUNNER, "vllm/lora/punica_wrapper/punica_gpu.py:add_shrink", "vllm/lora/ops/triton_ops/lora_shrink_op.py:_lora_shrink|assert inputs.size(1) == lora_a_weights[0].size(-1)", end="AssertionError"),
        {F.KERNEL_LIBRARY}, False),
    "Dynamo meets what it cannot trace": (
        start(PROFILING, RUNNER, "vllm/compilation/wrapper.py:__call__", "torch/_dynamo/eval_frame.py:compile_wrapper", end="torch._dynamo.exc.UserError: Could not guard on data-dependent expression Eq(u0, 1)"),
        {F.KERNEL_LIBRARY}, False),
    "an Inductor assertion": (
        start(PROFILING, RUNNER, "vllm/compilation/compiler_interface.py:compile", "torch/_inductor/compile_fx.py:compile_fx", end="torch._inductor.exc.InductorError: LoweringException: AssertionError: expected size 64==128"),
        {F.KERNEL_LIBRARY}, False),
    "a checkpoint with a name of its own": (
        start(LOADING, "vllm/model_executor/model_loader/default_loader.py:load_weights", "vllm/model_executor/models/qwen3_next.py:load_weights|param = params_dict[name]", end="KeyError: 'mtp.fc.extra'"),
        {F.WEIGHTS_MISMATCH}, False),
    "a configuration without what the model wants": (
        start(STARTING, "vllm/model_executor/models/odd_vl.py:__init__", end="AttributeError: 'OddVLConfig' object has no attribute 'text_config'"),
        {F.PACKAGE_MISMATCH, F.UNSUPPORTED_ARCH}, False),
    "a scheduler that trips": (
        work("vllm/v1/engine/core.py:_process_engine_step", "vllm/v1/core/sched/scheduler.py:schedule|assert num_new_tokens > 0", end="AssertionError"),
        {F.ENGINE_BUG}, None),
    "a structured output that is none": (
        work("vllm/v1/engine/core.py:_process_engine_step", "vllm/v1/structured_output/backend_xgrammar.py:accept_tokens", end="AttributeError: 'NoneType' object has no attribute 'accept_token'"),
        {F.ENGINE_BUG, F.PACKAGE_MISMATCH}, None),
    "speculation that indexes too far": (
        work("vllm/v1/engine/core.py:_process_engine_step", "vllm/v1/spec_decode/eagle.py:propose", end="IndexError: index 5 is out of bounds for dimension 0 with size 5"),
        {F.ENGINE_BUG}, None),
    "no node but this one": (
        start(STARTING, "vllm/v1/executor/ray_utils.py:initialize_ray_cluster", end="ValueError: Current node has no GPU available. current_node_resource={'CPU': 64.0}. vLLM engine cannot start without GPU."),
        {F.NO_GPU, F.RAY_NODES_MISSING}, None),
    "the head does not answer": (
        start(STARTING, "vllm/distributed/parallel_state.py:init_distributed_environment", "torch/distributed/distributed_c10d.py:init_process_group", end="torch.distributed.DistNetworkError: The client socket has failed to connect to any network address of (gpu-head, 29501)."),
        {F.PEER_LOST}, True),
    "a segfault with Python's own word": (
        f"{LOADING}\n(EngineCore pid=42) Fatal Python error: Segmentation fault\n(EngineCore pid=42) Current thread 0x7f (most recent call first):\n(EngineCore pid=42)   File \"{SITE}/torch/_ops.py\", line 1158 in __call__{DEATH_AT_START}",
        {F.NATIVE_CRASH}, True),
    "the allocator of glibc": (
        f"{SERVING}\ndouble free or corruption (fasttop)\n(APIServer pid=1) ERROR 11-21 03:08:00 [core_client.py:5] Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.",
        {F.NATIVE_CRASH}, True),
    "a port of the master": (
        start(STARTING, "vllm/distributed/utils.py:create", end="torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29501, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use"),
        {F.PORT_IN_USE}, True),
    "a CUDA library of another version": (
        start("", "vllm/_custom_ops.py:<module>", end="ImportError: libcudart.so.13: cannot open shared object file: No such file or directory"),
        {F.LIBCUDART_MISSING}, False),
    "a compat library in a container": (
        "(APIServer pid=1) INFO 11-21 03:05:00 [utils.py:1] non-default args: {'model': '/m'}\n(EngineCore pid=99) ERROR 11-21 03:05:09 [core.py:9] EngineCore failed to start.\n(EngineCore pid=99) ERROR 11-21 03:05:09 [core.py:9] RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have already set an error? Error 803: system has unsupported display driver / cuda driver combination",
        {F.CUDA_COMPAT_LIBRARY}, False),
    "heads that do not divide, in a model's own words": (
        start(LOADING, "vllm/model_executor/models/odd.py:__init__|assert self.total_num_kv_heads % tp_size == 0", end="AssertionError"),
        {F.TP_NOT_DIVISIBLE}, False),
    "an old Python": (
        start("", "vllm/utils/odd.py:<module>", end="ImportError: cannot import name 'Self' from 'typing' (/usr/lib/python3.10/typing.py)"),
        {F.PYTHON_TOO_OLD}, False),
    "no home for the compiler's cache": (
        start(PROFILING, "torch/_inductor/runtime/cache_dir_utils.py:default_cache_dir", "getpass.py:getuser", end="OSError: No username set in the environment"),
        {F.NO_SUCH_USER}, False),
    "OOM while images are profiled": (
        start(PROFILING, "vllm/v1/worker/gpu_model_runner.py:profile_run", "vllm/model_executor/models/odd_vl.py:embed_multimodal", end="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 15.00 GiB. GPU 0 has a total capacity of 47.40 GiB of which 9.30 GiB is free."),
        {F.OOM_PROFILE}, False),
    "OOM at the first long prompt": (
        work("vllm/v1/worker/gpu_model_runner.py:execute_model", "vllm/model_executor/layers/activation.py:forward_cuda", end="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB. GPU 0 has a total capacity of 23.53 GiB of which 120.00 MiB is free."),
        {F.OOM_RUNTIME}, True),
    "Xet does not come through": (
        start(STARTING, "huggingface_hub/file_download.py:xet_get", end="RuntimeError: Data processing error: CAS service error : Request middleware error: Request failed after 5 retries"),
        {F.HUB_UNREACHABLE}, True),
    "an unknown tool parser": (
        "(APIServer pid=1) Traceback (most recent call last):\n(APIServer pid=1)   File \"/x/site-packages/vllm/entrypoints/openai/api_server.py\", line 9, in validate_api_server_args\n(APIServer pid=1) KeyError: 'invalid tool call parser: qwen9 (chose from { hermes, llama3_json })'",
        {F.BAD_ARG_VALUE}, False),
}  # fmt: skip

SECOND: dict[str, Case] = {
    "MLA of FlashInfer": (
        start(CAPTURING, RUNNER, "vllm/v1/attention/backends/mla/flashinfer_mla.py:forward_mqa", "flashinfer/mla.py:trtllm_batch_decode_with_kv_cache_mla", end="RuntimeError: Error in function 'TllmGenFmhaRunner' at /x/trtllm_fmha.cu:112: Missing TRTLLM-GEN kernel (decode): qkvLayout=2, headDimV=512"),
        {F.KERNEL_LIBRARY}, False),
    "FlashMLA's own words": (
        work("vllm/v1/engine/core.py:_process_engine_step", "vllm/v1/attention/ops/flashmla.py:flash_mla_with_kvcache", end="RuntimeError: Dense decode MLA is only supported on SM90a architecture"),
        {F.KERNEL_LIBRARY, F.ATTN_BACKEND_UNSUPPORTED}, False),
    "TileLang": (
        start(PROFILING, RUNNER, "vllm/model_executor/layers/mhc.py:forward", "tilelang/jit/kernel.py:__init__", end="tvm.error.InternalError: Check failed: (target->kind->device_type == kDLCUDA) is false"),
        {F.KERNEL_LIBRARY}, False),
    "a CuTe DSL kernel": (
        start(PROFILING, RUNNER, "flash_attn/cute/interface.py:_flash_attn_fwd", end="cutlass.base_dsl.common.DSLRuntimeError: DSLRuntimeError: ICE in the compiler: sm_120 has no tcgen05"),
        {F.KERNEL_LIBRARY}, False),
    "grouped GEMM of the experts": (
        start(PROFILING, RUNNER, "vllm/model_executor/layers/fused_moe/cutlass_moe.py:run_cutlass_moe_fp8", "vllm/_custom_ops.py:cutlass_moe_mm", end="RuntimeError: cutlass_moe_mm: no compiled kernel for CUDA device capability: 121"),
        {F.KERNEL_LIBRARY, F.FP8_KERNEL_UNSUPPORTED}, False),
    "an MXFP4 kernel that asserts": (
        start(LOADING, "vllm/model_executor/layers/quantization/mxfp4.py:process_weights_after_loading", "triton_kernels/tensor_details/layout_details/hopper_scale.py:swizzle_data|assert M % 32 == 0", end="AssertionError"),
        {F.KERNEL_LIBRARY, F.QUANT_MISMATCH, F.QUANT_UNSUPPORTED_DEVICE}, False),
    "cuDNN finds no plan": (
        start(PROFILING, "vllm/model_executor/models/qwen3_vl.py:forward", "torch/nn/modules/conv.py:_conv_forward", end="RuntimeError: GET was unable to find an engine to execute this computation"),
        {F.KERNEL_LIBRARY, F.ENGINE_BUG}, False),
    "Helion": (
        start(PROFILING, RUNNER, "helion/runtime/kernel.py:compile_config", end="helion.exc.InvalidConfig: block_sizes must be powers of two"),
        {F.KERNEL_LIBRARY}, False),
    "numba and numpy": (
        start("", "vllm/v1/spec_decode/ngram_proposer.py:<module>", "numba/__init__.py:_ensure_critical_deps", end="ImportError: Numba needs NumPy 2.2 or less. Got NumPy 2.3."),
        {F.PACKAGE_MISMATCH}, False),
    "a distribution that is not there": (
        start("", "compressed_tensors/__init__.py:<module>", end="importlib.metadata.PackageNotFoundError: No package metadata was found for compressed-tensors"),
        {F.PACKAGE_MISMATCH}, False),
    "an argument that transformers no longer takes": (
        start(STARTING, "vllm/transformers_utils/processor.py:get_processor", "transformers/processing_utils.py:from_pretrained", end="TypeError: OddProcessor.__init__() got an unexpected keyword argument 'use_fast'"),
        {F.PACKAGE_MISMATCH}, False),
    "a tokenizer's file of a newer format": (
        start(STARTING, "vllm/transformers_utils/tokenizer.py:get_tokenizer", "tokenizers/__init__.py:from_file", end="Exception: data did not match any variant of untagged enum ModelWrapper at line 757463 column 3"),
        {F.UNSUPPORTED_ARCH, F.PACKAGE_MISMATCH, F.TOKENIZER_MISSING}, False),
    "fastapi of another year": (
        "(APIServer pid=1) Traceback (most recent call last):\n(APIServer pid=1)   File \"/x/site-packages/vllm/entrypoints/openai/api_server.py\", line 9, in build_app\n(APIServer pid=1)   File \"/x/site-packages/prometheus_fastapi_instrumentator/routing.py\", line 52, in get_route_name\n(APIServer pid=1) AttributeError: '_IncludedRouter' object has no attribute 'path'",
        {F.PACKAGE_MISMATCH, F.ENGINE_BUG}, False),
    "a list that is compared with None": (
        start(WARMING, "vllm/v1/core/kv_cache_utils.py:get_kv_cache_groups", end="TypeError: '<' not supported between instances of 'NoneType' and 'int'"),
        {F.ENGINE_BUG}, False),
    "hybrid pages that do not unify": (
        start(WARMING, "vllm/v1/core/kv_cache_utils.py:unify_kv_cache_spec_page_size", end="NotImplementedError: The page size of the layer is not divisible by the maximum page size. Cannot unify by adjusting block_size."),
        {F.ENGINE_BUG}, False),
    "a plugin that is broken": (
        start("", "vllm/plugins/__init__.py:load_general_plugins", "odd_plugin/register.py:register", end="ImportError: cannot import name 'VllmConfig' from 'vllm.config' (unknown location)"),
        {F.PACKAGE_MISMATCH}, False),
    "an adapter for other layers": (
        start(WARMING, "vllm/lora/worker_manager.py:_load_adapter", end="ValueError: While loading /a/adapter, expected target modules in ['q_proj'] but received ['model.layers.0.odd']. Please verify that the loaded LoRA module is correct"),
        {F.BAD_ARG_VALUE, F.WEIGHTS_MISMATCH}, False),
    "a KV connector that is not there": (
        start(STARTING, "vllm/distributed/kv_transfer/kv_connector/factory.py:get_connector_class", end="ValueError: Unsupported connector type: OddConnector"),
        {F.BAD_ARG_VALUE}, False),
    "NIXL without its library": (
        start(WARMING, "vllm/distributed/kv_transfer/kv_connector/v1/nixl_connector.py:__init__", end="RuntimeError: NIXL is not available"),
        {F.PACKAGE_MISMATCH}, False),
    "Gloo finds no interface": (
        start(STARTING, "vllm/distributed/parallel_state.py:__init__", "torch/distributed/distributed_c10d.py:new_group", end="RuntimeError: [enforce fail at /x/gloo/transport/tcp/device.cc:83] ifa != nullptr. Unable to find address for: ib0"),
        {F.NCCL_ERROR, F.PEER_LOST, F.BAD_ARG_VALUE}, None),
    "the other host went down at work": (
        work("vllm/v1/executor/multiproc_executor.py:execute_model", "torch/distributed/distributed_c10d.py:all_reduce", end="RuntimeError: [/x/gloo/transport/tcp/pair.cc:547] Connection closed by peer [192.168.10.12]:40213"),
        {F.PEER_LOST}, True),
    "C++ gets no thread": (
        f"{WARMING}\nterminate called after throwing an instance of 'std::system_error'\n  what():  Resource temporarily unavailable\n(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{'EngineCore': -6}}",
        {F.FD_LIMIT}, False),
    "an abort of C++": (
        f"{WARMING}\nterminate called after throwing an instance of 'std::logic_error'\n  what():  basic_string: construction from null is not valid\n(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{'EngineCore': -6}}",
        {F.NATIVE_CRASH}, True),
    "LLVM gives up": (
        f"{PROFILING}\nLLVM ERROR: Cannot select: intrinsic %llvm.nvvm.shfl.sync.bfly.i32{DEATH_AT_START}",
        {F.NATIVE_CRASH, F.KERNEL_LIBRARY}, None),
    "OOM with graphs, from a pasted end": (
        f"{trace('vllm/compilation/cuda_graph.py:__call__', 'vllm/model_executor/layers/fused_moe/fused_moe.py:fused_experts_impl', end='torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB. GPU 1 has a total capacity of 79.19 GiB of which 301.00 MiB is free. Including non-PyTorch memory, this process has 78.80 GiB memory in use. Of the allocated memory 73.11 GiB is allocated by PyTorch, with 1.20 GiB allocated in private pools (e.g., CUDA Graphs), and 902.00 MiB is reserved by PyTorch but unallocated.')}{DEATH_AT_START}",
        {F.OOM_GRAPH_CAPTURE}, False),
    "OOM in a container that holds the card itself, at work": (
        work("vllm/v1/worker/gpu_model_runner.py:execute_model", "vllm/v1/sample/sampler.py:forward", end="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total capacity of 31.36 GiB of which 601.00 MiB is free. Process 2073 has 30.75 GiB memory in use. Of the allocated memory 29.10 GiB is allocated by PyTorch, with 88.00 MiB allocated in private pools (e.g., CUDA Graphs), and 300.00 MiB is reserved by PyTorch but unallocated."),
        {F.OOM_RUNTIME}, True),
    "a server that was killed in a pod": (
        f"{SERVING}\n    State:          Terminated\n      Reason:       Error\n      Exit Code:    137",
        {F.ENGINE_DEAD}, True),
    "a host that was reset while it loaded": (
        f"{LOADING}\n-- Boot 93c1a5c6f9f04d6cb2b4bd0b3a7f3a55 --",
        {F.HOST_RESET}, True),
    "a vocabulary that is not there, in Rust's words": (
        f"{WARMING}\n(APIServer pid=1) Traceback (most recent call last):\n(APIServer pid=1)   File \"/x/site-packages/openai_harmony/__init__.py\", line 689, in load_harmony_encoding\n(APIServer pid=1) openai_harmony.HarmonyError: error downloading or loading vocab file: failed to download or load vocab file",
        {F.HUB_UNREACHABLE}, True),
    "a name that was never assigned": (
        work("vllm/v1/engine/core.py:_process_engine_step", "vllm/v1/worker/gpu_input_batch.py:condense", end="UnboundLocalError: cannot access local variable 'last_req_index' where it is not associated with a value"),
        {F.ENGINE_BUG}, None),
    "flags that exclude each other": (
        "(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for SpeculativeConfig\n(APIServer pid=1)   Value error, num_speculative_tokens (9) must be divisible by n_predict (2). [type=value_error, input_value=ArgsKwargs((), {'method': 'mtp'}), input_type=ArgsKwargs]",
        {F.BAD_ARG_VALUE}, False),
}  # fmt: skip


@pytest.mark.parametrize("name", [*FIRST, *SECOND])
def test_a_variant_gets_a_right_class_and_never_a_new_start_that_cures_nothing(name: str) -> None:
    log, right, transient = (FIRST | SECOND)[name]
    found = diagnose(log)
    assert found.failure in right
    if transient is False:
        assert found.transient is False
    assert found.evidence
