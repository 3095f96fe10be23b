# SPDX-License-Identifier: Apache-2.0
"""What each failure looks like in one line, in at least two eras' or two sources' words.

Lines of our own making, after the texts of vLLM 0.6.3..0.32, torch, CUDA, NCCL, huggingface_hub,
transformers, systemd and the Linux kernel; shortened, with invented paths and numbers.
"""

# ruff: noqa: E501
from __future__ import annotations

from agent.core.failures.classes import FailureClass
from tests.given.software_words import SOFTWARE

F = FailureClass

WORDS: dict[FailureClass, tuple[str, ...]] = {
    F.OOM_FREE_MEM_STARTUP: (
        "ValueError: Free memory on device (3.5/23.5 GiB) on startup is less than desired GPU memory utilization (0.9, 21.2 GiB). Decrease it.",
        "ValueError: Free memory on device cuda:1 (3.5/23.5 GiB) on startup is less than desired GPU memory utilization (0.92, 21.6 GiB).",
        "ValueError: Available memory on node 0 (6.2/7.6 GiB) on startup is less than desired CPU memory utilization (0.92, 7.0 GiB).",
    ),
    F.OOM_KV_NONE: (
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
        "ValueError: Cannot auto-fit max_model_len: not enough GPU memory available to serve one token.",
    ),
    F.OOM_KV_TOO_SMALL_FOR_MAXLEN: (
        "ValueError: The model's max seq len (16384) is larger than the maximum number of tokens that can be stored in KV cache (9088).",
        "ValueError: To serve at least one request with the models's max seq len (40960), (5.6 GB KV cache is needed, which is larger than the available KV cache memory (3.2 GB).",
        "ValueError: To serve at least one request with the model's max seq len (40960), (5.62 GiB KV cache is needed, which is larger than the available KV cache memory (3.29 GiB). Based on the available memory, the estimated maximum model length is 23952.",
    ),
    F.MAMBA_BLOCKS_TOO_FEW: (
        "ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (969).",
        "ValueError: max_num_seqs (256) exceeds the number of available Mamba cache blocks (17).",
    ),
    F.OOM_WEIGHTS_LOAD: (
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 172.00 MiB (GPU 0; 14.75 GiB total capacity; 13.34 GiB already allocated)",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 5 has a total capacity of 79.14 GiB of which 1.44 GiB is free.",
        "Failed to load model - not enough GPU memory. Try lowering --gpu-memory-utilization to free memory for weights.",
    ),
    F.OOM_PROFILE: (
        "torch._inductor.exc.InductorError: RuntimeError: Failed to run autotuning code block: CUDA out of memory. Tried to allocate 1.02 GiB.",
        "Error executing method 'determine_num_available_blocks': CUDA out of memory. Tried to allocate 1.02 GiB.",
    ),
    F.OOM_SAMPLER_WARMUP: (
        "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests.",
        "RuntimeError: CUDA out of memory occurred when warming up pooler with 256 dummy requests.",
    ),
    F.OOM_GRAPH_CAPTURE: (
        "Exception in worker VllmWorkerProcess while processing method initialize_cache: CUDA out of memory. Tried to allocate 1.95 GiB.",
        "Error executing method 'compile_or_warm_up_model': CUDA error: out of memory",
    ),
    F.OOM_RUNTIME: (
        "Exception in worker VllmWorkerProcess while processing method start_worker_execution_loop: CUDA out of memory. Tried to allocate 64.00 MiB.",
        "EngineCore encountered a fatal error. torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 64.00 MiB.",
    ),
    F.MEM_PROFILING_RACE: (
        "AssertionError: Error in memory profiling. Initial free memory 84409778176, current free memory 84531412992.",
        "AssertionError: Error in memory profiling. Initial free memory 15.57 GiB, current free memory 16.43 GiB.",
    ),
    F.HOST_OOM_KILLED: (
        "Out of memory: Killed process 4711 (VLLM::EngineCor) total-vm:198kB, anon-rss:97234232kB, file-rss:0kB",
        "Memory cgroup out of memory: Killed process 4711 (VLLM::Worker_TP) total-vm:198kB, anon-rss:97kB",
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task_memcg=/system.slice/vllm.service,task=python3,pid=4711,uid=0",
        "      Reason:       OOMKilled",
    ),
    F.ENGINE_DEAD: (
        "vllm.engine.async_llm_engine.AsyncEngineDeadError: Background loop has errored already.",
        "RuntimeError: Engine loop has died",
        "Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': -9}",
    ),
    F.WORKER_DIED: (
        "Worker VllmWorkerProcess pid 281 died, exit code: -9",
        "Worker proc VllmWorker-3 died unexpectedly, shutting down executor.",
    ),
    F.ENGINE_HUNG: (
        "TimeoutError: No heartbeat received from MQLLMEngine",
        "AsyncEngineDeadError: Engine iteration timed out. This should never happen!",
        "TimeoutError: RPC call to execute_model timed out.",
        "TimeoutError: RPC call to sample_tokens timed out.",
    ),
    F.START_STALLED: (
        "RuntimeError: Did not receive response from front-end process within 5 minutes",
        "TimeoutError: Timed out waiting for engine core processes to start. Waited 600s (configured by VLLM_ENGINE_READY_TIMEOUT_S).",
        "vllm.service: start operation timed out. Terminating.",
    ),
    F.CUDA_ILLEGAL_MEMORY_ACCESS: (
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        "RuntimeError: Triton Error [CUDA]: misaligned address",
    ),
    F.CUDA_LAUNCH_FAILURE: (
        "RuntimeError: CUDA error: unspecified launch failure",
        "torch.AcceleratorError: CUDA error: unspecified launch failure",
        "RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle )`",
    ),
    F.CUDA_ASSERT: (
        "RuntimeError: CUDA error: device-side assert triggered",
        "torch.AcceleratorError: CUDA error: device-side assert triggered",
    ),
    F.CUDA_BUSY: (
        "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable",
        "torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    ),
    F.CUDA_REINIT_IN_FORK: (
        "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with "
        "multiprocessing, you must use the 'spawn' start method",
        "RuntimeError: Cannot re-initialize HIP in forked subprocess. To use HIP with "
        "multiprocessing, you must use the 'spawn' start method",
    ),
    F.NCCL_ERROR: (
        "RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)",
        "torch.distributed.DistBackendError: NCCL error in: /src/NCCLUtils.cpp:77, unhandled cuda error, NCCL version 2.27.3",
        "Exception in worker VllmWorkerProcess while processing method init_device: NCCL error: unhandled cuda error",
    ),
    F.NCCL_TIMEOUT: (
        "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=17, OpType=ALLREDUCE) ran for 600012 ms",
        "[Rank 0] Timeout at NCCL work: 17, last enqueued NCCL work: 17, last completed NCCL work: 16.",
    ),
    F.GPU_LOST: (
        "Unable to determine the device handle for GPU0000:65:00.0: Unknown Error",
        "pynvml.NVMLError_GpuIsLost: GPU is lost",
        "NVRM: GPU 0000:65:00.0: GPU has fallen off the bus.",
    ),
    F.CUDA_NOT_INITIALIZED_802: (
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
        "RuntimeError: CUDA driver error: system not yet initialized",
    ),
    F.CUDA_UNKNOWN: (
        "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment",
        "torch.AcceleratorError: CUDA error: unknown error",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 304: OS call failed or operation not supported on this OS",
    ),
    F.DRIVER_TOO_OLD: (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020).",
        "RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.",
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver",
    ),
    F.NVML_MISMATCH: (
        "Failed to initialize NVML: Driver/library version mismatch",
        "pynvml.NVMLError_LibRmVersionMismatch: RM has detected an NVML/RM version mismatch.",
        "NVRM: API mismatch: the client has the version 550.90, but this kernel module has the version 535.183.",
    ),
    F.NO_GPU: (
        "RuntimeError: Failed to infer device type",
        "RuntimeError: No CUDA GPUs are available",
        "RuntimeError: Device string must not be empty",
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
    ),
    F.NO_KERNEL_IMAGE: (
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
    ),
    F.LIBCUDART_MISSING: (
        "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
        "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
    ),
    **SOFTWARE,
    F.GATED_REPO: (
        "OSError: You are trying to access a gated repo.",
        "huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1)",
        "Repo model org/model is gated. You must be authenticated to access it.",
    ),
    F.REPO_NOT_FOUND: (
        "OSError: org/nope is not a local folder and is not a valid model identifier listed on 'https://hub.example/models'",
        "huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. (Request ID: Root=1)",
    ),
    F.HUB_AUTH: (
        "huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized. Invalid credentials in Authorization header",
        'User Access Token "vllm" is expired',
        "httpx.LocalProtocolError: Illegal header value b'Bearer '",
    ),
    F.HUB_UNREACHABLE: (
        "urllib3.exceptions.MaxRetryError: HTTPSConnectionPool(host='hub.example', port=443): Max retries exceeded with url: /o/m/resolve/main/config.json",
        "httpx.ConnectError: [Errno -3] Temporary failure in name resolution",
        "OSError: We couldn't connect to 'https://hub.example' to load the files, and couldn't find them in the cached files.",
        "RuntimeError: Data processing error: CAS service error : Request failed after 5 retries",
    ),
    F.HUB_OFFLINE: (
        "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files in the disk cache and outgoing traffic has been disabled.",
        "huggingface_hub.errors.OfflineModeIsEnabled: Cannot reach https://hub.example/api: offline mode is enabled.",
    ),
    F.HUB_RATE_LIMIT: (
        "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://hub.example/o/m",
        "httpx.HTTPStatusError: Client error '429 Too Many Requests' for url 'https://hub.example/o/m'",
    ),
    F.DISK_FULL: (
        "OSError: [Errno 28] No space left on device",
        "RuntimeError: Data processing error: IO Error: No space left on device (os error 28)",
    ),
    F.SHM_TOO_SMALL: (
        "RuntimeError: Insufficient space in /dev/shm for shared-memory allocation: 160 MiB required, 0 MiB free.",
        "gpu-1:3663:4044 [0] shmutils.cc:129 NCCL WARN Error while creating shared memory segment /dev/shm/nccl-a (size 33030528)",
        "RuntimeError: unable to write to file </torch_4711_1_0>: No space left on device (28)",
    ),
    F.CACHE_NOT_WRITABLE: (
        "OSError: [Errno 30] Read-only file system: '/models/hub'",
        "PermissionError: [Errno 13] Permission denied: '/.cache'",
    ),
    F.FD_LIMIT: (
        "OSError: [Errno 24] Too many open files",
        "RuntimeError: [enforce fail at loop.cc:47] rv != -1. -1 vs -1. pipe: Too many open files",
    ),
    F.WEIGHTS_CORRUPT: (
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
        "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered",
        "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory",
    ),
    F.WEIGHTS_MISSING: (
        "RuntimeError: Cannot find any model weights with `/models/m`",
        "FileNotFoundError: [Errno 2] No such file or directory: '/models/m/model-00002-of-00004.safetensors'",
    ),
    F.WEIGHTS_MISMATCH: (
        "ValueError: Following weights were not initialized from checkpoint: {'model.layers.3.mlp.down_proj.weight'}",
        "RuntimeError: start (0) + length (640) exceeds dimension size (512).",
        "KeyError: 'model.layers.0.mlp.gate_up_proj.weight_scale_inv'",
    ),
    F.TOKENIZER_MISSING: (
        "OSError: Can't load tokenizer for '/models/m'.",
        "ValueError: Couldn't instantiate the backend tokenizer from one of:",
        "TypeError: not a string",
    ),
    F.UNKNOWN_ARG: (
        "api_server.py: error: unrecognized arguments: --no-such-flag",
        "vllm: error: unrecognized arguments: serve /models/m",
    ),
    F.BAD_ARG_VALUE: (
        "api_server.py: error: argument --kv-cache-dtype: invalid choice: 'fp7' (choose from 'auto', 'fp8')",
        "  Input should be less than or equal to 1 [type=less_than_equal, input_value=1.5, input_type=float]",
        "KeyError: 'invalid tool call parser: foo (chose from { hermes })'",
    ),
    F.REMOVED_FLAG: (
        "api_server.py: error: unrecognized arguments: --use-v2-block-manager",
        "vllm: error: unrecognized arguments: --disable-log-requests",
    ),
    F.MAX_MODEL_LEN_TOO_BIG: (
        "ValueError: User-specified max_model_len (131072) is greater than the derived max_model_len (max_position_embeddings=32768 or model_max_length=None in model's config.json).",
        "  Value error, User-specified max_model_len (131072) is greater than the derived max_model_len (max_position_embeddings=32768.0 or model_max_length=None in model's config.json).",
    ),
    F.TP_NOT_DIVISIBLE: (
        "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8).",
        "  Value error, World size (4) is larger than the number of available GPUs (1) in this node. [type=value_error",
        "AssertionError: 8 is not divisible by 3",
    ),
    F.UNSUPPORTED_ARCH: (
        "ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures: ['BarForCausalLM']",
        "  Value error, The checkpoint you are trying to load has model type `foo9` but Transformers does not recognize this architecture.",
    ),
    F.TRUST_REMOTE_CODE: (
        "ValueError: Loading org/model requires you to execute the configuration file in that repo on your local machine; set the option `trust_remote_code=True`.",
        "  Value error, The repository org/model contains custom code which must be executed to correctly load the model.",
    ),
    F.MODEL_PATH: (
        "huggingface_hub.utils._validators.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/models/nope'.",
        "  Value error, Invalid repository ID or local directory specified: '/models/m'.",
    ),
    F.CHAT_TEMPLATE_MISSING: (
        "ValueError: As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template",
        "ValueError: Cannot use chat template functions because tokenizer.chat_template is not set",
    ),
    F.QUANT_MISMATCH: (
        "ValueError: Quantization method specified in the model config (gptq) does not match the quantization method specified in the `quantization` argument (awq).",
        "  Value error, Cannot find the config file for awq [type=value_error",
    ),
    F.QUANT_UNSUPPORTED_DEVICE: (
        "ValueError: The quantization method awq is not supported for the current GPU. Minimum capability: 75. Current capability: 70.",
        "ValueError: Failed to find a kernel that can implement the WNA16 linear layer. Reasons: requires capability 75",
    ),
    F.KV_DTYPE_UNSUPPORTED: (
        "NotImplementedError: FlashAttention does not support fp8 kv-cache on this device.",
        "ValueError: fp8_e5m2 kv-cache is not supported with fp8 checkpoints.",
        "ValueError: FP8 KV cache is not supported by the Triton attention backend on this GPU (compute capability 7.5)",
    ),
    F.ATTN_BACKEND_UNSUPPORTED: (
        "RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
        "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig(head_size=80). Reasons: {FLASH_ATTN: [head_size not supported]}",
    ),
    F.FP8_KERNEL_UNSUPPORTED: (
        "RuntimeError: torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0 or 8.9, or ROCm MI300+",
        "ValueError: type fp8e4nv not supported in this architecture. The supported fp8 dtypes are ('fp8e4b15', 'fp8e5')",
    ),
    F.DTYPE_UNSUPPORTED: (
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0.",
        "ValueError: torch.bfloat16 is not supported for quantization method awq. Supported dtypes: [torch.float16]",
    ),
    F.PORT_IN_USE: (
        "OSError: [Errno 98] Address already in use",
        "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
    ),
    F.NO_C_COMPILER: (
        "RuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
        "torch._inductor.exc.InductorError: InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx",
    ),
    F.NVCC_MISSING: (
        "RuntimeError: Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist",
        "subprocess.CalledProcessError: Command '['ninja', '-v', '-C', '/root/.cache/flashinfer']' returned non-zero exit status 1.",
    ),
}  # fmt: skip
"""Lines by class; each names its class when nothing else is known."""
