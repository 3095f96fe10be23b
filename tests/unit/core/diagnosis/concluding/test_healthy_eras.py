# SPDX-License-Identifier: Apache-2.0
"""Whole logs of servers that serve, of eras and kinds of service that print otherwise.

Each is of our own making, after what that release prints: a start, the alarming lines that belong
to such a service, and requests that are answered.
"""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from agent.core.failures.classes import FailureClass, Outcome
from tests.given.engine_logs import diagnose

API, CORE = "APIServer pid=1", "EngineCore_DP0 pid=88"
UP = "INFO:     Started server process [1]\nINFO:     Waiting for application startup.\nINFO:     Application startup complete."
ANSWERS = 'INFO:     10.0.0.3:40122 - "GET /health HTTP/1.1" 200 OK\nINFO:     10.0.0.3:40124 - "POST {} HTTP/1.1" 200 OK'


def old(*said: tuple[str, str], level: str = "INFO") -> list[str]:
    """Return records as vLLM 0.6 and 0.7 print them, a minute each."""
    return [f"{level} 11-21 03:{n:02}:00 {source}] {text}" for n, (source, text) in enumerate(said)]


def new(process: str, *said: tuple[str, str], level: str = "INFO") -> list[str]:
    """Return records as vLLM 0.10 and later print them, a minute each."""
    return [f"({process}) {level} 11-21 03:{n:02}:00 [{s}] {t}" for n, (s, t) in enumerate(said)]


def serving(*lines: str, path: str = "/v1/chat/completions") -> str:
    """Return the log of a start with these lines in it, and of its first requests."""
    return "\n".join([*lines, UP, ANSWERS.format(path)])


def started(*lines: str, path: str = "/v1/chat/completions", version: str = "0.28.0") -> str:
    """Return the same of a V1 engine, which says what it is before."""
    head = new(API, ("api_server.py:1977", f"vLLM API server version {version}"))
    core = new(
        CORE,
        (
            "core.py:97",
            f"Initializing a V1 LLM engine (v{version}) with config: model='/srv/m', dtype=torch.bfloat16, max_seq_len=8192, tensor_parallel_size=1",
        ),
        ("gpu_model_runner.py:4142", "Starting to load model /srv/m..."),
    )
    return serving(*head, *core, *lines, path=path)


ERAS = {
    "0.6, V0 on one card": serving(
        *old(
            ("api_server.py:585", "vLLM API server version 0.6.6.post1"),
            ("llm_engine.py:234", "Initializing an LLM engine (v0.6.6.post1) with config: model='/srv/m', dtype=torch.float16, max_seq_len=4096, tensor_parallel_size=1"),
            ("model_runner.py:1094", "Starting to load model /srv/m..."),
            ("model_runner.py:1099", "Loading model weights took 14.9888 GB"),
            ("worker.py:241", "Memory profiling takes 0.71 seconds"),
            ("gpu_executor.py:76", "# GPU blocks: 27000, # CPU blocks: 2048"),
            ("model_runner.py:1415", "Capturing cudagraphs for decoding. This may lead to unexpected consequences if the model is not static. To run the model in eager mode, set 'enforce_eager=True' or use '--enforce-eager' in the CLI. If out-of-memory error occurs during cudagraph capture, consider decreasing `gpu_memory_utilization` or switching to eager mode."),
        ),
        *old(("arg_utils.py:1013", "Chunked prefill is enabled by default for models with max_model_len > 32K. Currently, chunked prefill might not work with some features or models. If you encounter any issues, please disable chunked prefill by setting --enable-chunked-prefill=False."), level="WARNING"),
    ),
    "0.7, tensor parallel in V0": serving(
        *old(("api_server.py:838", "vLLM API server version 0.7.3"), ("llm_engine.py:234", "Initializing a V0 LLM engine (v0.7.3) with config: model='/srv/m', tensor_parallel_size=2")),
        "(VllmWorkerProcess pid=91) INFO 11-21 03:02:00 multiproc_worker_utils.py:229] Worker ready; awaiting tasks",
        "(VllmWorkerProcess pid=91) WARNING 11-21 03:02:01 custom_all_reduce.py:134] Custom allreduce is disabled because it's not supported on more than two PCIe-only GPUs. To silence this warning, specify disable_custom_all_reduce=True explicitly.",
        "(VllmWorkerProcess pid=91) WARNING 11-21 03:02:02 custom_all_reduce_utils.py:206] generating GPU P2P access cache in /x/gpu_p2p_access_cache_for_0,1.json",
        "WARNING 11-21 03:02:03 multiproc_worker_utils.py:300] Reducing Torch parallelism from 48 threads to 1 to avoid unnecessary CPU contention. Set OMP_NUM_THREADS in the external environment to tune this value as needed.",
        "[rank0]:[W1121 03:02:04.1 ProcessGroupNCCL.cpp:4115] [PG ID 0 PG GUID 0 Rank 0]  using GPU 0 to perform barrier as devices used by this process are currently unknown. This can potentially cause a hang if this rank to GPU mapping is incorrect.",
    ),
    "0.8, V1 falls back to V0": serving(
        *old(("__init__.py:239", "Automatically detected platform cuda."), ("api_server.py:1034", "vLLM API server version 0.8.5.post1")),
        "WARNING 11-21 03:02:00 [arg_utils.py:1658] Pipeline Parallelism without Ray distributed executor is not supported by the V1 Engine. Falling back to V0.",
        "WARNING 11-21 03:02:00 [arg_utils.py:1679] Detected VLLM_USE_V1=1 with fp8. Usage should be considered experimental. Please report any issues on Github.",
        "INFO 11-21 03:03:00 [worker.py:287] Memory profiling takes 3.02 seconds",
    ),
    "0.9, embeddings": serving(
        *old(("api_server.py:1287", "vLLM API server version 0.9.2")),
        "INFO 11-21 03:01:00 [config.py:1472] Using max model len 8192",
        "WARNING 11-21 03:01:01 [config.py:3371] Casting torch.float32 to torch.float16.",
        "INFO 11-21 03:01:02 [llm_engine.py:232] Initializing a V0 LLM engine (v0.9.2) with config: model='/srv/e', task='embed'",
        "WARNING 11-21 03:01:03 [api_server.py:1350] To indicate that the rerank API is not part of the standard OpenAI API, we have located it at `/rerank`. Please update your client accordingly. (Note: Conforms to JinaAI rerank API)",
        path="/v1/embeddings",
    ),
    "0.10, on the processor": started(
        *new(CORE, ("cpu_worker.py:64", "auto thread-binding list (id, physical core): [(0, 0), (1, 1)]"), ("cpu_model_runner.py:56", "Warming up model for the compilation...")),
        *new(CORE, ("cpu.py:120", "Environment variable VLLM_CPU_KVCACHE_SPACE (GiB) for CPU backend is not set, using 4 by default."), ("_ipex_ops.py:15", "Import error msg: No module named 'intel_extension_for_pytorch'"), ("interface.py:5", "Failed to import from vllm._C with ImportError('libcudart.so.12: cannot open shared object file: No such file or directory')"), level="WARNING"),
        version="0.10.2",
    ),
    "0.11, data parallel": started(
        "(APIServer_0 pid=11) INFO 11-21 03:04:00 [core_client.py:9] Waiting for local and remote engine cores to start...",
        "(EngineCore_DP1 pid=89) INFO 11-21 03:04:00 [parallel_state.py:1165] rank 1 in world size 2 is assigned as DP rank 1, PP rank 0, TP rank 0, EP rank 1",
        "(DP Coordinator pid=80) INFO 11-21 03:04:10 [coordinator.py:5] Timed out waiting for stats of engine 1; will ask again",
        "(EngineCore_DP1 pid=89) DEBUG 11-21 03:05:00 [core.py:5] EngineCore waiting for work; idle dummy batch",
        version="0.11.0",
    ),
    "0.12, adapters": started(
        *new(CORE, ("punica_selector.py:20", "Using PunicaWrapperGPU."), ("worker_manager.py:5", "Adding lora. Model id: 1, int id: 1")),
        *new(CORE, ("utils.py:5", "Using default LoRA kernel configs"), ("lora_model.py:5", "Regarding module='lm_head', no LoRA layer for it: it is not supported and is ignored"), level="WARNING"),
        "(APIServer pid=1) INFO 11-21 03:05:00 [serving_models.py:5] Loaded new LoRA adapter: name 'odd', path '/srv/lora'",
        version="0.12.0",
    ),
    "0.14, pictures": started(
        "(APIServer pid=1) WARNING 11-21 03:04:00 [processing.py:5] Using a slow image processor as `use_fast` is unset and a slow processor was saved with this model. `use_fast=True` will be the default behavior in v4.52, even if the model was saved with a slow processor. This will result in minor differences in outputs.",
        *new(CORE, ("gpu_model_runner.py:5", "Encoder cache will be initialized with a budget of 16384 tokens, and profiled with 1 image items of the maximum feature size.")),
        "Unused or unrecognized kwargs: return_tensors.",
        version="0.14.1",
    ),
    "0.17, a draft model": started(
        *new(CORE, ("eagle.py:5", "Loading drafter model..."), ("llama_eagle3.py:5", "Assuming the EAGLE head shares the same vocab embedding with the target model.")),
        "(APIServer pid=1) WARNING 11-21 03:04:00 [speculative.py:5] min_p, logit_bias, and min_tokens parameters won't currently work with speculative decoding enabled.",
        "(APIServer pid=1) INFO 11-21 03:06:00 [metrics.py:5] SpecDecoding metrics: Mean acceptance length: 1.00, Accepted throughput: 0.00 tokens/s, Drafted throughput: 2.10 tokens/s, Accepted: 0 tokens, Drafted: 21 tokens, Per-position acceptance rate: 0.000, 0.000, 0.000, Avg Draft acceptance rate: 0.0%",
        version="0.17.1",
    ),
    "0.19, asleep and awake": started(version="0.19.1")
    + "\n(APIServer pid=1) WARNING 11-21 03:08:00 [api_router.py:5] SECURITY WARNING: Development endpoints are enabled! This should NOT be used in production!\n(EngineCore_DP0 pid=88) INFO 11-21 03:08:01 [cumem.py:201] CuMemAllocator: sleep freed 40.10 GiB memory in total, of which 15.00 GiB is backed up in CPU and the rest 25.10 GiB is discarded directly.\n(EngineCore_DP0 pid=88) INFO 11-21 03:08:02 [gpu_worker.py:5] Sleep mode freed 40.10 GiB memory, 0.90 GiB memory is still in use.\n(APIServer pid=1) INFO:     10.0.0.3:4 - \"POST /sleep?level=1 HTTP/1.1\" 200 OK\n(EngineCore_DP0 pid=88) INFO 11-21 03:09:00 [executor_base.py:5] It took 1.2 seconds to wake up tags {'weights', 'kv_cache'}.\n(APIServer pid=1) INFO:     10.0.0.3:4 - \"POST /wake_up HTTP/1.1\" 200 OK",
}  # fmt: skip

FIRST_SIGHT = {
    "0.6, a front end of its own process": serving(
        *old(("api_server.py:219", "Multiprocessing frontend to use ipc:///tmp/odd for IPC Path."), ("api_server.py:238", "Started engine process with PID 77"), ("model_runner.py:1060", "Starting to load model /srv/m...")),
        "/x/torch/storage.py:414: FutureWarning: You are using `torch.load` with `weights_only=False` (the current default value), which uses the default pickle module implicitly. It is possible to construct malicious pickle data which will execute arbitrary code during unpickling",
        "ERROR 11-21 03:06:00 serving_chat.py:196] Error in applying chat template from request",
        "ERROR 11-21 03:06:00 serving_chat.py:196] Traceback (most recent call last):",
        "ERROR 11-21 03:06:00 serving_chat.py:196] jinja2.exceptions.TemplateError: Conversation roles must alternate user/assistant/user/assistant/...",
    ),
    "0.8, Marlin for an old card": serving(
        *old(("gptq_marlin.py:143", "The model is convertible to gptq_marlin during runtime. Using gptq_marlin kernel."), ("marlin_utils_fp4.py:90", "Your GPU does not have native support for FP4 computation but FP4 quantization is being used. Weight-only FP4 compression will be used leveraging the Marlin kernel. This may degrade performance for compute-heavy workloads."), level="WARNING"),
        *old(("api_server.py:1034", "vLLM API server version 0.8.5.post1"), ("loader.py:458", "Loading weights took 6.10 seconds")),
    ),
    "0.9, a mixture of experts over four cards": serving(
        *old(("api_server.py:1287", "vLLM API server version 0.9.2")),
        "(VllmWorker rank=3 pid=94) WARNING 11-21 03:03:00 [fused_moe.py:690] Using default MoE config. Performance might be sub-optimal! Config file not at ['/x/E=64,N=352,device_name=NVIDIA_A10.json']",
        "(VllmWorker rank=3 pid=94) WARNING 11-21 03:03:01 [symm_mem.py:58] SymmMemCommunicator: Device capability 8.6 not supported, communicator is not available.",
        "(VllmWorker rank=2 pid=93) INFO 11-21 03:03:02 [custom_all_reduce.py:196] Registering 5635 cuda graph addresses",
    ),
    "0.11, a first compilation of minutes": started(
        *new(CORE, ("backends.py:548", "Using cache directory: /x/torch_compile_cache/0a1b/rank_0_0/backbone for vLLM's torch.compile"), ("monitor.py:34", "torch.compile takes 311.40 s in total")),
        "W1121 03:05:00.123000 88 torch/_inductor/utils.py:1436] [0/0] Not enough SMs to use max_autotune_gemm mode",
        "/x/torch/_inductor/compile_fx.py:282: UserWarning: TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled. Consider setting `torch.set_float32_matmul_precision('high')` for better performance.",
        version="0.11.2",
    ),
    "0.16, a hub that stutters": started(
        "Warning: You are sending unauthenticated requests to the HF Hub. Please set a HF_TOKEN to enable higher rate limits and faster downloads.",
        "'[Errno -3] Temporary failure in name resolution' thrown while requesting HEAD https://huggingface.co/o/m/resolve/main/config.json\nRetrying in 1s [Retry 1/5].",
        "HTTP Error 429 thrown while requesting GET https://huggingface.co/api/models/o/m\nRetrying in 2s [Retry 1/5].",
        version="0.16.0",
    ),
    "0.20, a reranker under probes": started(version="0.20.2", path="/v1/rerank")
    + '\nINFO:     10.0.0.9:1 - "GET /healthz HTTP/1.1" 404 Not Found\nINFO:     10.0.0.9:1 - "GET / HTTP/1.1" 404 Not Found\nWARNING:  Invalid HTTP request received.\nINFO:     10.0.0.9:1 - "POST /v1/rerank HTTP/1.1" 422 Unprocessable Entity\nINFO:     10.0.0.9:1 - "POST /v1/rerank HTTP/1.1" 413 Request Entity Too Large',
    "0.24, prompts kept on the processor's side": started(
        *new(CORE, ("factory.py:64", "Creating v1 connector with name: OffloadingConnector and engine_id: odd"), ("base.py:5", "Initializing KVConnectorBase_V1. This API is experimental and subject to change in the future as we iterate the design.")),
        "(EngineCore_DP0 pid=88) WARNING 11-21 03:04:00 [vllm.py:5] Turning off hybrid kv cache manager because `--kv-transfer-config` is set. This will reduce the performance of vLLM on LLMs with sliding window attention or Mamba attention.",
        version="0.24.0",
    ),
    "0.27, speech under load": started(version="0.27.1", path="/v1/audio/transcriptions")
    + '\n(APIServer pid=1) ERROR 11-21 03:08:00 [speech_to_text.py:5] Error in preprocessing prompt inputs\n(APIServer pid=1) ERROR 11-21 03:08:00 [speech_to_text.py:5] Traceback (most recent call last):\n(APIServer pid=1) ERROR 11-21 03:08:00 [speech_to_text.py:5]   File "/x/site-packages/soundfile.py", line 690, in __init__\n(APIServer pid=1) ERROR 11-21 03:08:00 [speech_to_text.py:5] soundfile.LibsndfileError: Error opening <_io.BytesIO object at 0x7f>: Format not recognised.\n(APIServer pid=1) INFO:     10.0.0.3:4 - "POST /v1/audio/transcriptions HTTP/1.1" 400 Bad Request\n(APIServer pid=1) INFO:     10.0.0.3:4 - "POST /v1/audio/transcriptions HTTP/1.1" 200 OK',
    "0.31, kernels that are tuned and skipped": started(
        "2026-11-21 03:05:00,345 - INFO - autotuner.py:256 - flashinfer.jit: [Autotuner]: Autotuning process starts ...",
        "2026-11-21 03:05:01,345 - WARNING - autotuner.py:500 - flashinfer.jit: [Autotuner]: Skipping tactic <odd.Runner object at 0x7f> 3, due to failure while profiling: CUDA out of memory. Tried to allocate 1.00 GiB.",
        "2026-11-21 03:05:30,345 - INFO - autotuner.py:262 - flashinfer.jit: [Autotuner]: Autotuning process ends",
        version="0.31.0",
    ),
    "0.33, a rolling restart behind a balancer": started(version="0.33.0")
    + '\n(APIServer pid=1) INFO 11-21 03:08:00 [loggers.py:5] Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 0.0 tokens/s, Running: 0 reqs, Waiting: 0 reqs, GPU KV cache usage: 0.0%, Prefix cache hit rate: 0.0%\nINFO:     10.0.0.9:1 - "GET /metrics HTTP/1.1" 200 OK\nINFO:     10.0.0.9:1 - "POST /v1/completions HTTP/1.1" 503 Service Unavailable\nINFO:     10.0.0.9:1 - "POST /v1/completions HTTP/1.1" 200 OK\n(APIServer pid=1) INFO 11-21 03:08:10 [loggers.py:5] Engine 000: Avg prompt throughput: 8.0 tokens/s, Avg generation throughput: 21.0 tokens/s, Running: 1 reqs, Waiting: 0 reqs, GPU KV cache usage: 0.1%, Prefix cache hit rate: 0.0%',
}  # fmt: skip
"""Those that were written before the reader saw any: none of them was a failure to it."""

RAY = "(RayWorkerWrapper pid=1234, ip=10.0.0.2) "
SECOND_SIGHT = {
    "0.7, V0 over Ray": serving(
        *old(
            ("api_server.py:912", "vLLM API server version 0.7.3"),
            ("ray_distributed_executor.py:153", "use_ray_spmd_worker: False"),
            ("llm_engine.py:234", "Initializing a V0 LLM engine (v0.7.3) with config: model='/srv/m', dtype=torch.bfloat16, max_seq_len=8192, tensor_parallel_size=2"),
            ("model_runner.py:1110", "Starting to load model /srv/m..."),
        ),
        f"{RAY}WARNING 11-21 03:05:00 custom_all_reduce.py:136] Custom allreduce is disabled because your platform lacks GPU P2P capability or P2P test failed. To silence this warning, specify disable_custom_all_reduce=True explicitly.",
        f"{RAY}ERROR 11-21 03:05:01 utils.py:608] Cannot use FA version 3 is not supported due to FA3 is only supported on devices with compute capability >= 8",
        "(raylet) [2026-11-21 03:05:02,101 E 99 99] (raylet) file_system_monitor.cc:116: /tmp/ray/session is over 95% full, available space: 11 GB; capacity: 400 GB. Object creation will fail if spilling is required.",
        *old(("distributed_gpu_executor.py:57", "# GPU blocks: 12000, # CPU blocks: 2048"), ("llm_engine.py:436", "init engine (profile, create kv cache, warmup model) took 40.11 seconds")),
    ),
    "0.9, adapters without a tokenizer of theirs": started(
        *new(API, ("serving_models.py:160", "Loaded new LoRA adapter: name 'odd', path '/srv/lora/odd'")),
        "WARNING 11-21 03:06:00 [tokenizer.py:293] No tokenizer found in /srv/lora/odd, using base model tokenizer instead. (Exception: [Errno 2] No such file or directory: '/srv/lora/odd/tokenizer.json')",
        "WARNING 11-21 03:06:01 [models.py:400] Regarding multimodal models, vLLM currently only supports adding LoRA to language model, visual.merger will be ignored.",
        version="0.9.2",
    ),
    "0.11, the decoding half of a pair": started(
        *new(CORE, ("nixl_connector.py:55", "NIXL is available"), ("nixl_connector.py:560", "Initializing NIXL wrapper")),
        "2026-11-21 03:05:00 NIXL WARN    nixl_plugin_manager.cpp:120 loadPlugin: Failed to load plugin 'GDS' from any directory",
        "[1763694300.123] [gpu01:99   :0]     ucp_context.c:2190 UCX  WARN  UCP API version is incompatible: required >= 1.20, actual 1.19.0",
        "(EngineCore_DP0 pid=88) WARNING 11-21 03:09:00 [nixl_connector.py:1100] Releasing expired KV blocks for request cmpl-7f which were retrieved by 0 decode worker(s) within 480 seconds.",
        version="0.11.2",
    ),
    "0.13, four ranks that find each other": started(
        "[W1121 03:05:01.121 socket.cpp:767] [c10d] The client socket has failed to connect to [gpu01]:29500 (errno: 111 - Connection refused).",
        "[rank2]:[W1121 03:05:02.001 ProcessGroupGloo.cpp:521] Warning: Unable to resolve hostname to a (local) address. Using the loopback address as fallback. (function operator())",
        *new("DPCoordinator pid=70", ("coordinator.py:90", "All engine subscriptions received by DP coordinator")),
        "(EngineCore_DP0 pid=88) INFO 11-21 03:06:00 [shm_broadcast.py:501] No available shared memory broadcast block found in 60 seconds. This typically happens when some processes are hanging or doing some time-consuming work (e.g. compilation, weight/kv cache quantization).",
        version="0.13.0",
    ),
    "0.16, one file of another format": started(
        *new(CORE, ("gguf.py:90", "Model is quantized with GGUF; bfloat16 has precision issues, using float16 instead."), level="WARNING"),
        "(APIServer pid=1) WARNING 11-21 03:05:00 [gguf_utils.py:77] Error reading GGUF metadata of the projector: file not found; it is taken as a text model",
        "Token indices sequence length is longer than the specified maximum sequence length for this model (9210 > 8192). Running this sequence through the model will result in indexing errors",
        version="0.16.0",
    ),
    "0.18, a hybrid that pads its cache": started(
        *new(CORE, ("config.py:380", "Mamba cache mode is set to 'align' for OddForCausalLM by default when prefix caching is enabled"), ("kv_cache_utils.py:1100", "Add 1 padding layers, may waste at most 3.33% KV cache memory"), level="WARNING"),
        *new(CORE, ("backend.py:200", "Error while reading the compile cache: it is made anew"), level="WARNING"),
        version="0.18.1",
    ),
    "0.20, a classifier with files that it need not have": started(
        "'HTTPError' thrown while requesting HEAD https://huggingface.co/o/m/resolve/main/modules.json: 404 Client Error. Entry Not Found",
        "(APIServer pid=1) WARNING 11-21 03:05:00 [repo_utils.py:101] Error retrieving file list: Cannot reach https://huggingface.co/api/models/o/m: offline mode is enabled. To disable it, please unset the `HF_HUB_OFFLINE` environment variable., retrying 1 of 2",
        path="/v1/score",
        version="0.20.2",
    ),
    "0.22, clients that come and go": started(version="0.22.1")
    + "\nWARNING:  Invalid HTTP request received.\n(APIServer pid=1) INFO 11-21 03:08:00 [async_llm.py:500] Request chatcmpl-9 aborted.\nERROR:    closing handshake failed\nTraceback (most recent call last):\n  File \"/usr/lib/python3.12/site-packages/websockets/server.py\", line 20, in handshake\nwebsockets.exceptions.ConnectionClosedError: no close frame received or sent\n"
    + ANSWERS.format("/v1/chat/completions"),
    "0.25, a grammar that is refused": started(version="0.25.1")
    + '\n(APIServer pid=1) ERROR 11-21 03:08:00 [backend_xgrammar.py:160] Failed to advance FSM for request chatcmpl-5 for tokens 220. Please file an issue.\n(APIServer pid=1) INFO:     10.0.0.3:40130 - "POST /v1/chat/completions HTTP/1.1" 400 Bad Request\n(APIServer pid=1) ERROR:    Exception in ASGI application\n(APIServer pid=1) Traceback (most recent call last):\n(APIServer pid=1)   File "/usr/lib/python3.12/site-packages/starlette/routing.py", line 7, in app\n(APIServer pid=1) ValueError: Grammar error: Unimplemented keys: ["odd"]\n'
    + ANSWERS.format("/v1/chat/completions"),
    "0.33, experts that are moved while it works": started(
        "(EngineCore pid=88) WARNING 11-21 03:05:00 [rebalance.py:80] EPLB is asynchronous: a layer may be late by one step",
        "'HTTP Error 429' thrown while requesting HEAD https://huggingface.co/o/m/resolve/main/config.json\nRetrying in 1s [Retry 1/5].",
        "(EngineCore pid=88) ERROR 11-21 03:05:02 [usage_lib.py:160] Failed to collect usage data: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
        version="0.33.0",
    )
    + "\n(EngineCore pid=88) INFO 11-21 03:08:00 [eplb_state.py:500] Rearranging experts sync mode ...\n(EngineCore pid=88) INFO 11-21 03:08:01 [eplb_state.py:520] Rearranged experts in 0.93 s.\n"
    + ANSWERS.format("/v1/chat/completions"),
}  # fmt: skip
"""Ten more that were held out: read once, none of them was a failure to the reader."""

DEGRADED = {
    "0.8, V1 falls back to V0": FailureClass.FALLBACK_V1_TO_V0,
    "0.8, Marlin for an old card": FailureClass.FALLBACK_FP4_MARLIN,
}
"""Those that serve otherwise than they were asked to."""


@pytest.mark.parametrize("name", [*ERAS, *FIRST_SIGHT, *SECOND_SIGHT])
def test_a_healthy_log_of_an_era_is_one_of_a_server_that_serves(name: str) -> None:
    found = diagnose({**ERAS, **FIRST_SIGHT, **SECOND_SIGHT}[name])
    outcome = Outcome.DEGRADED if name in DEGRADED else Outcome.READY
    assert (found.outcome, found.failure) == (outcome, DEGRADED.get(name)), found.evidence
