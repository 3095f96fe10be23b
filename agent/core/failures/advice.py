# SPDX-License-Identifier: Apache-2.0
"""One sentence a class: what a person must do when the agent cannot, or may not, do it."""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.failures.classes import FailureClass

F = FailureClass

ADVICE: Mapping[FailureClass, str] = {
    F.OOM_FREE_MEM_STARTUP: "Stop the process that holds the GPU's memory (nvidia-smi names it), "
    "or lower gpu_memory_utilization to what is free.",
    F.OOM_KV_NONE: "Raise gpu_memory_utilization; else fewer batched tokens or sequences, a "
    "smaller model or more GPUs.",
    F.OOM_KV_TOO_SMALL_FOR_MAXLEN: "Lower max_model_len to the printed estimate, raise "
    "gpu_memory_utilization, or use an FP8 KV cache.",
    F.MAMBA_BLOCKS_TOO_FEW: "Lower max_num_seqs to the printed number of blocks.",
    F.OOM_WEIGHTS_LOAD: "Use a smaller or quantized checkpoint, or more GPUs; no "
    "gpu_memory_utilization helps.",
    F.OOM_PROFILE: "Lower max_num_batched_tokens or max_num_seqs.",
    F.OOM_SAMPLER_WARMUP: "Lower max_num_seqs, then gpu_memory_utilization.",
    F.OOM_GRAPH_CAPTURE: "Lower gpu_memory_utilization, capture fewer graph sizes, or set "
    "enforce_eager.",
    F.OOM_RUNTIME: "Lower gpu_memory_utilization by 0.02 to 0.05, or max_num_batched_tokens.",
    F.MEM_PROFILING_RACE: "Start again when no other process takes or frees memory on this GPU.",
    F.HOST_OOM_KILLED: "Give the host (or MemoryMax= of the unit) more RAM; the GPU is not at "
    "fault.",
    F.ENGINE_DEAD: "Killed from outside or crashed without a word: see the kernel log "
    "(journalctl -k) for the OOM killer, a segfault or an Xid.",
    F.WORKER_DIED: "Killed from outside or crashed without a word: see the kernel log "
    "(journalctl -k) for the OOM killer, a segfault or an Xid.",
    F.ENGINE_HUNG: "Restart; when it comes back, look for Xids and suspect the last change of "
    "model, flags or version.",
    F.START_STALLED: "Raise VLLM_ENGINE_READY_TIMEOUT_S when the model is big or the disk slow.",
    F.CUDA_ILLEGAL_MEMORY_ACCESS: "Restart; on the second within an hour drop the risky option "
    "(asynchronous scheduling, FP8 KV cache, graphs) or change the version; look for Xid 13/31.",
    F.CUDA_LAUNCH_FAILURE: "Restart; look for Xid 13, 48 or 79 in the kernel log.",
    F.CUDA_ASSERT: "Restart; the same request each time points to a bad request or model.",
    F.CUDA_BUSY: "Find the process that holds the GPU (exclusive mode or one that is dying), else "
    "reboot.",
    F.NCCL_ERROR: "Restart with NCCL_DEBUG=INFO; for peer-to-peer trouble NCCL_P2P_DISABLE=1 or "
    "--disable-custom-all-reduce, and switch the IOMMU off on bare metal.",
    F.NCCL_TIMEOUT: "Restart; when it comes back look for Xids, an IOMMU that breaks peer-to-peer, "
    "or a rank that died first.",
    F.GPU_LOST: "Power-cycle the host and check the card; vLLM cannot start while NVML lists it.",
    F.CUDA_NOT_INITIALIZED_802: "Start nvidia-fabricmanager in the version of the driver, then "
    "restart vLLM.",
    F.CUDA_UNKNOWN: "Look for an Xid or a half-upgraded driver in the kernel log; load nvidia-uvm "
    "(modprobe nvidia_uvm), else reboot.",
    F.DRIVER_TOO_OLD: "Install a newer NVIDIA driver (580 or later for CUDA 13 builds, 570 for "
    "CUDA 12.8), or an older vLLM.",
    F.NVML_MISMATCH: "Reboot: the driver was upgraded under the running kernel module; do not "
    "restart what still serves.",
    F.NO_GPU: "Load the NVIDIA driver and check CUDA_VISIBLE_DEVICES and the unit's device access.",
    F.NO_KERNEL_IMAGE: "Install a vLLM build that contains kernels for this GPU.",
    F.LIBCUDART_MISSING: "Install the CUDA runtime that this vLLM build was made for.",
    F.LIBSTDCXX_TOO_OLD: "Use a newer distribution or libstdc++, or another vLLM build.",
    F.TORCH_MISMATCH: "Install the torch version that this vLLM was built against.",
    F.IMAGE_MISSING: "Pull the image (podman pull or docker pull), correct its name, or set "
    "engine.pull = true.",
    F.CONTAINER_GPU: "Install nvidia-container-toolkit; then nvidia-ctk runtime configure "
    "--runtime=docker and a restart of docker, or nvidia-ctk cdi generate "
    "--output=/etc/cdi/nvidia.yaml, also after each upgrade of the driver.",
    F.CONTAINER_REFUSED: "Cure what podman or docker says of the container: its name, its entry "
    "point, a directory that it mounts or an option.",
    F.CONTAINER_DAEMON: "Start docker (systemctl start docker) and see its log: journalctl -u "
    "docker.",
    F.GATED_REPO: "Ask for access on the model's page, and give a token of that account.",
    F.REPO_NOT_FOUND: "Correct the model's name, or give a token that may see the private "
    "repository.",
    F.HUB_AUTH: "Give a valid Hugging Face token: this one is empty, wrong or expired.",
    F.HUB_UNREACHABLE: "Check network, DNS and proxy; a model that is complete on disk starts with "
    "HF_HUB_OFFLINE=1.",
    F.HUB_OFFLINE: "Unset HF_HUB_OFFLINE once, so that the missing files are downloaded.",
    F.HUB_RATE_LIMIT: "Wait at least 5 minutes; a token raises the limit.",
    F.DISK_FULL: "Free space on the disk that holds the model cache.",
    F.SHM_TOO_SMALL: "Make /dev/shm bigger (--shm-size, --ipc=host, or the mount's size).",
    F.CACHE_NOT_WRITABLE: "Give the service's user the cache directory; check ProtectHome= and "
    "ReadWritePaths= of the unit.",
    F.FD_LIMIT: "Set LimitNOFILE=65536 or more in the unit.",
    F.WEIGHTS_CORRUPT: "Delete the broken file of this model (blob and link) and download again.",
    F.WEIGHTS_MISSING: "Download the model's weights again.",
    F.WEIGHTS_MISMATCH: "Download config and weights of one revision again.",
    F.TOKENIZER_MISSING: "Download the tokenizer's files again, or name another tokenizer.",
    F.UNKNOWN_ARG: "Correct the name of the flag.",
    F.BAD_ARG_VALUE: "Correct the value of the flag.",
    F.REMOVED_FLAG: "Remove the flag: this vLLM no longer has it.",
    F.MAX_MODEL_LEN_TOO_BIG: "Lower max_model_len to what the model was made for.",
    F.TP_NOT_DIVISIBLE: "Choose a tensor_parallel_size that divides the attention heads and does "
    "not exceed the number of GPUs.",
    F.UNSUPPORTED_ARCH: "Install a newer vLLM or transformers that knows this model.",
    F.TRUST_REMOTE_CODE: "Read the model's code, and set trust_remote_code if you trust it.",
    F.MODEL_PATH: "Correct the model's path: it is missing or holds no model.",
    F.CHAT_TEMPLATE_MISSING: "Give --chat-template; completions work without one.",
    F.QUANT_MISMATCH: "Leave quantization unset: the checkpoint says itself what it is.",
    F.QUANT_UNSUPPORTED_DEVICE: "Use a checkpoint in a format that this GPU supports.",
    F.KV_DTYPE_UNSUPPORTED: "Use kv_cache_dtype auto, or another attention backend.",
    F.ATTN_BACKEND_UNSUPPORTED: "Leave the attention backend unset.",
    F.FP8_KERNEL_UNSUPPORTED: "Use a checkpoint that is not FP8: this GPU has no FP8 kernels.",
    F.DTYPE_UNSUPPORTED: "Set dtype to half: this GPU or format has no bfloat16.",
    F.SIGTERM_IGNORED_AT_STARTUP: "Signal the whole cgroup (systemd does), and kill after the "
    "stop timeout.",
    F.SHUTDOWN_DRAIN: "Nothing: requests in flight were finished first.",
    F.SHUTDOWN_OPEN_CONNECTION: "Set --shutdown-timeout (0.18 or later); open client connections "
    "held the stop up.",
    F.SHUTDOWN_SIGTERM: "Nothing: it was asked to stop.",
    F.PORT_IN_USE: "Stop the process that listens on the port (ss -ltnp), or change the port.",
    F.NO_C_COMPILER: "Install gcc and the Python headers (apt install gcc python3-dev).",
    F.NVCC_MISSING: "Install the CUDA toolkit and put nvcc on the unit's PATH.",
    F.FALLBACK_AWQ_FORCED: "Ask for awq_marlin or leave quantization unset.",
    F.FALLBACK_AWQ_UNOPTIMIZED: "Nothing, or use a checkpoint whose layers Marlin supports.",
    F.FALLBACK_FP8_MARLIN: "Nothing: memory is saved, but this GPU computes no FP8.",
    F.FALLBACK_FP4_MARLIN: "Nothing: memory is saved, but this GPU computes no FP4.",
    F.FALLBACK_V1_TO_V0: "Leave out the option that the V1 engine lacks, or use a newer vLLM.",
    F.FALLBACK_V1_TO_V0_FP8KV: "Use a newer vLLM: this one runs FP8 KV caches on the old engine.",
    F.FALLBACK_ATTN_XFORMERS: "Install FlashInfer, or use a KV-cache type that FlashAttention has.",
    F.FALLBACK_ATTN_FLEX: "Leave out the option that FlashAttention lacks.",
    F.FALLBACK_ATTN_TRITON: "Leave out the option that FlashAttention lacks.",
    F.FALLBACK_ATTN_SDPA: "Leave out the option that FlashAttention lacks.",
    F.UNKNOWN: "Read the last lines of the log.",
}
