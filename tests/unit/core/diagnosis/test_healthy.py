# SPDX-License-Identifier: Apache-2.0
"""Healthy logs of all eras are full of alarming words: none of them is a failure.

Lines of our own making, after what vLLM 0.6..0.33, torch, NCCL, FlashInfer, DeepGEMM, Ray,
huggingface_hub and the kernel print on servers that serve.
"""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from agent.core.failures.classes import Outcome
from tests.given.engine_logs import LOADING, PROFILING, SERVING, SITE, STARTING, diagnose, v1

BEFORE_IT_SERVES = {
    "DeepGEMM is not there": v1("Failed to import DeepGemm kernels.", level="WARNING"),
    "DeepGEMM is switched off": v1("Auto-disabled DeepGemm for model_type=odd on Blackwell. Falling back to CUTLASS. To disable DeepGemm globally, set VLLM_USE_DEEP_GEMM=0.", level="WARNING"),
    "DeepGEMM warms up": v1("DeepGEMM warmup:  43%|####3     | 310/720 [00:04<00:06, 61.1it/s]"),
    "FlashInfer is not there": v1("FlashInfer is not available. Falling back to the PyTorch-native implementation of top-p & top-k sampling. For the best performance, please install FlashInfer.", level="WARNING"),
    "FlashInfer tries tactics": "2026-11-21 03:05:20,345 - WARNING - autotuner.py:500 - flashinfer.jit: [Autotuner]: Skipping tactic <odd.Runner object at 0x7f> 14, due to failure while profiling: [TensorRT-LLM][ERROR] Assertion failed: Failed to initialize cutlass TMA WS grouped gemm. Error: Error Internal (/x/y.h:600)",
    "optional kernels are not there": v1("Failed to import from vllm._moe_C with ModuleNotFoundError(\"No module named 'vllm._moe_C'\")", level="WARNING"),
    "another platform's library": v1("Failed to import from amdsmi with ModuleNotFoundError(\"No module named 'amdsmi'\")", level="WARNING"),
    "no custom allreduce": v1("Custom allreduce is disabled because your platform lacks GPU P2P capability or P2P test failed. To silence this warning, specify disable_custom_all_reduce=True explicitly.", level="WARNING"),
    "no configuration for this card": v1("Using default MoE config. Performance might be sub-optimal! Config file not found at /x/E=128,N=768,device_name=NVIDIA_H200.json", level="WARNING"),
    "a CUDA driver that was older once": "UserWarning: CUDA initialization: Unexpected error from cudaGetDeviceCount() is not raised here",
    "a hub that was slow": "'(ReadTimeoutError(\"HTTPSConnectionPool(host='huggingface.co', port=443): Read timed out. (read timeout=10)\"), '(Request ID: 1)')' thrown while requesting HEAD https://huggingface.co/o/m/resolve/main/config.json",
    "a hub that is asked again": v1("Error retrieving file list: 504 Server Error: Gateway Time-out for url: https://huggingface.co/api/models/o/m, retrying 1 of 2", level="ERROR"),
    "no Xet": "Xet Storage is enabled for this repo, but the 'hf_xet' package is not installed. Falling back to regular HTTP download. For better performance, install the package with: `pip install huggingface_hub[hf_xet]` or `pip install hf_xet`",
    "a ulimit": v1("Found ulimit of 1024 and failed to automatically increase with error current limit exceeds maximum limit. This can cause fd limit errors like `OSError: [Errno 24] Too many open files`. Consider increasing with ulimit -n", level="WARNING"),
    "a fork": v1("We must use the `spawn` multiprocessing start method. Overriding VLLM_WORKER_MULTIPROC_METHOD to 'spawn'. Reasons: CUDA is initialized", level="WARNING"),
    "usage statistics": v1("Failed to send usage data to server: HTTPSConnectionPool(host='stats.vllm.ai', port=443): Max retries exceeded with url: / (Caused by NameResolutionError)", level="WARNING"),
    "a thread of statistics": "Exception in thread Thread-1 (_report_usage_worker):\nTraceback (most recent call last):\n  File \"/usr/lib/python3.12/threading.py\", line 1073, in _bootstrap_inner\n    self.run()\nPermissionError: [Errno 13] Permission denied: '/.config'",
    "Triton without a driver": "INFO 11-21 03:05:00 [importing.py:44] Triton is installed but 0 active driver(s) found (expected 1). Disabling Triton to prevent runtime errors.",
    "no C++ build of a library": v1("/x/torch/utils/cpp_extension.py:2425: UserWarning: TORCH_CUDA_ARCH_LIST is not set, all archs for visible cards are included for compilation.", level="WARNING"),
    "Gloo meets": "[Gloo] Rank 0 is connected to 0 peer ranks. Expected number of connected peer ranks is : 0",
    "NCCL tells of itself": "host:52:52 [0] NCCL INFO NET/Plugin: Could not find: libnccl-net.so. Using internal network plugin.",
    "NCCL's RAS port": "[2026-04-21 06:57:46] host:529525:535668 [0] ras/client_support.cc:160 NCCL WARN Call to bind failed: Address already in use",
    "the address family": "[W1121 03:05:21 socket.cpp:200] [c10d] The hostname of the client socket cannot be retrieved. err=-3",
    "a process group": "[rank0]:[W1121 03:05:22 ProcessGroupNCCL.cpp:1538] Warning: WARNING: destroy_process_group() was not called before program exit, which can leak resources.",
    "a slow tokenizer": v1("Using a slow tokenizer. This might cause a significant slowdown. Consider using a fast tokenizer instead.", level="WARNING"),
    "a chat template by content": v1("Using supplied chat template: None"),
    "a value that is changed": v1("The `max_num_batched_tokens` is adjusted for the multimodal model.", level="WARNING"),
    "Mamba pages": v1("Setting attention block size to 544 tokens to ensure that attention page size is >= mamba page size.", level="WARNING"),
    "an old variable": v1("Unknown vLLM environment variable detected: VLLM_ATTENTION_BACKEND", level="WARNING"),
    "an old flag": v1("argument '--disable-log-requests' is deprecated", level="WARNING"),
    "eager mode": v1("Enforce eager set, disabling torch.compile and CUDAGraphs. This is equivalent to setting -cc.mode=none -cc.cudagraph_mode=none", level="WARNING"),
    "async scheduling is off": v1("Async scheduling is not supported with this configuration and has been disabled.", level="WARNING"),
    "prefix caching is off": v1("Prefix caching is not supported for hybrid models and has been disabled.", level="WARNING"),
    "waits while loading": v1("No available shared memory broadcast block found in 60 seconds. This typically happens when some processes are hanging or doing some time-consuming work (e.g. compilation, weight/kv cache quantization).", level="INFO"),
    "waits often while loading": "\n".join([v1("No available shared memory broadcast block found in 60 seconds. This typically happens when some processes are hanging or doing some time-consuming work (e.g. compilation, weight/kv cache quantization).")] * 7),
    "an inspection that leaves things behind": f"{SITE}/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked semaphore objects to clean up at shutdown",
    "memory of the driver": "Nov 21 03:05:12 gpu-1 kernel: NVRM: nvCheckOkFailedNoLog: Check failed: Out of memory [NV_ERR_NO_MEMORY] (0x00000051) returned from _memdescAllocInternal(pMemDesc) @ mem_desc.c:1359",
    "a fallback of a checkpoint's reader": v1("OddForCausalLM has no vLLM implementation, falling back to Transformers implementation. Some features may not be supported and performance may not be optimal.", level="WARNING"),
    "a device name": v1("Failed to get device name: NVML Shared Library Not Found in this namespace was handled", level="DEBUG"),
    "a compile cache that is made anew": v1("Failed to read compile cache, recompiling: FileNotFoundError", level="WARNING"),
}  # fmt: skip

WHILE_IT_SERVES = {
    "a request in error": 'ERROR:    Exception in ASGI application\nTraceback (most recent call last):\n  File "/opt/vllm/lib/python3.12/site-packages/uvicorn/protocols/http/h11_impl.py", line 403, in run_asgi\n    result = await app(\nRuntimeError: Caught handled exception, but response already started.',
    "a request that is too long": "(APIServer pid=1) ERROR 11-21 03:07:00 [serving_chat.py:2] ValueError: This model's maximum context length is 1024 tokens. However, you requested 1600 tokens. Please request fewer output tokens.",
    "a tool call that does not parse": '(APIServer pid=1) ERROR 11-21 03:07:00 [hermes_tool_parser.py:2] Error in extracting tool call from response.\n(APIServer pid=1) ERROR 11-21 03:07:00 [hermes_tool_parser.py:2] Traceback (most recent call last):\n(APIServer pid=1) ERROR 11-21 03:07:00 [hermes_tool_parser.py:2]   File "/usr/lib/python3.12/json/decoder.py", line 363, in raw_decode\n(APIServer pid=1) ERROR 11-21 03:07:00 [hermes_tool_parser.py:2] json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)',
    "a client that went away": "(APIServer pid=1) INFO 11-21 03:07:00 [async_llm.py:5] Request chatcmpl-1 aborted.\nasyncio.exceptions.CancelledError",
    "a prompt that quotes an error": "(APIServer pid=1) INFO 11-21 03:07:00 [logger.py:2] Received request cmpl-1: prompt: 'RuntimeError: CUDA error: an illegal memory access was encountered', params: SamplingParams(n=1)",
    "a bad request": 'INFO:     10.0.0.2:4000 - "POST /v1/chat/completions HTTP/1.1" 400 Bad Request',
    "a path that is not there": 'INFO:     10.0.0.2:4000 - "GET /v1/nothing HTTP/1.1" 404 Not Found',
    "a short wait": "(EngineCore pid=42) INFO 11-21 03:07:00 [shm_broadcast.py:5] No available shared memory broadcast block found in 60 seconds. This typically happens when some processes are hanging.",
    "requests that wait": "(APIServer pid=1) INFO 11-21 03:07:00 [loggers.py:5] Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 9.1 tokens/s, Running: 8 reqs, Waiting: 120 reqs, GPU KV cache usage: 99.8%, Prefix cache hit rate: 1.0%",
    "preemption": "WARNING 11-21 03:07:00 [scheduler.py:1] Sequence group 3 is preempted by PreemptionMode.RECOMPUTE mode because there is not enough KV cache space. This can affect the end-to-end performance.",
    "a picture that cannot be read": '(APIServer pid=1) ERROR 11-21 03:07:00 [serving_chat.py:5] Error in preprocessing prompt inputs\n(APIServer pid=1) ERROR 11-21 03:07:00 [serving_chat.py:5] Traceback (most recent call last):\n(APIServer pid=1) ERROR 11-21 03:07:00 [serving_chat.py:5]   File "/opt/vllm/lib/python3.12/site-packages/PIL/Image.py", line 3, in open\n(APIServer pid=1) ERROR 11-21 03:07:00 [serving_chat.py:5] PIL.UnidentifiedImageError: cannot identify image file',
    "an Xid of a neighbour's program, noted": "WARNING 11-21 03:07:00 [x.py:1] a client said: Xid 79",
    "a model that was asked for and is not": "(APIServer pid=1) ERROR 11-21 03:07:00 [serving_models.py:2] Error with model object='error' message='The model `gpt-4` does not exist.' type='NotFoundError' param=None code=404",
    "another unit that died": "Nov 21 03:07:00 gpu-1 systemd[1]: nginx.service: Main process exited, code=killed, status=9/KILL",
}  # fmt: skip


@pytest.mark.parametrize("name", BEFORE_IT_SERVES)
def test_an_alarming_line_of_a_start_ends_nothing(name: str) -> None:
    line = BEFORE_IT_SERVES[name]
    later = PROFILING.removeprefix(LOADING)
    for log in (
        f"{line}\n{STARTING}",
        f"{STARTING}\n{line}\n{LOADING.removeprefix(STARTING)}{later}",
    ):
        found = diagnose(log)
        assert (found.outcome, found.failure) == (Outcome.RUNNING, None)
    found = diagnose(f"{LOADING}\n{line}{SERVING.removeprefix(LOADING)}")
    assert (found.outcome, found.failure) == (Outcome.READY, None)


@pytest.mark.parametrize("name", WHILE_IT_SERVES)
def test_an_alarming_line_of_a_server_that_serves_ends_nothing(name: str) -> None:
    found = diagnose(f"{SERVING}\n{WHILE_IT_SERVES[name]}")
    assert (found.outcome, found.failure) == (Outcome.READY, None)


def test_there_are_at_least_forty_of_them() -> None:
    assert len(BEFORE_IT_SERVES) + len(WHILE_IT_SERVES) >= 40
