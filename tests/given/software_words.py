# SPDX-License-Identifier: Apache-2.0
"""Words of failures in the software around the engine: libraries and containers.

Lines of our own making, after the texts of the dynamic loader, torch, podman, docker, runc and
NVIDIA's container toolkit.
"""

# ruff: noqa: E501
from __future__ import annotations

from agent.core.failures.classes import FailureClass

F = FailureClass

SOFTWARE: dict[FailureClass, tuple[str, ...]] = {
    F.LIBSTDCXX_TOO_OLD: (
        "ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by vllm/_C.abi3.so)",
        'Failed to import from vllm._C: ImportError("libstdc++.so.6: version `CXXABI_1.3.15\' not found")',
    ),
    F.TORCH_MISMATCH: (
        "ImportError: vllm/_C.abi3.so: undefined symbol: _ZN3c104cuda9SetDeviceEi",
        "RuntimeError: Tried to instantiate class '_core_C.ScalarType', but it does not exist! Ensure that it is registered via torch::class_",
    ),
    F.IMAGE_MISSING: (
        "Error: docker.io/vllm/vllm-openai:v9: image not known",
        "docker: Error response from daemon: No such image: vllm/vllm-openai:v9",
    ),
    F.CONTAINER_GPU: (
        'docker: Error response from daemon: could not select device driver "nvidia" with capabilities: [[gpu]]',
        "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=1",
        "nvidia-container-cli: initialization error: load library failed: libcuda.so.1: cannot open shared object file",
    ),
    F.CONTAINER_REFUSED: (
        "a container named embed is there that llmagent did not make; rename it (/usr/bin/docker rename embed NEW) or give the service another name",
        'docker: Error response from daemon: OCI runtime create failed: runc create failed: exec: "python4": executable file not found in $PATH',
    ),
    F.CONTAINER_DAEMON: (
        "docker: Cannot connect to the Docker daemon at unix:///run/docker.sock. Is the docker daemon running?",
        "error waiting for container: unexpected EOF",
    ),
    F.KERNEL_LIBRARY: (
        "RuntimeError: DeepGEMM backend is not available or outdated. Please install or update the `deep_gemm`.",
        "RuntimeError: Assertion error (/build/deepgemm-src/csrc/apis/../utils/layout.hpp:76): Unknown recipe",
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 131072, Hardware limit: 101376.",
        "RuntimeError: Check failed: (status == cudaSuccess) is false: BatchDecodeWithPagedKVCache failed with error invalid argument",
        "RuntimeError: [TensorRT-LLM][ERROR] Assertion failed: Failed to initialize cutlass TMA WS grouped gemm.",
        "RuntimeError: PassManager::run failed",
        "ValueError: Fp8 MoE backend 'DEEPGEMM' does not support the deployment configuration since kernel does not support current device.",
        "torch.AcceleratorError: CUDA error: invalid configuration argument",
    ),
    F.PACKAGE_MISMATCH: (
        "ModuleNotFoundError: No module named 'nixl'",
        "ImportError: Please install bitsandbytes>=0.46.1 by running `pip install bitsandbytes>=0.46.1`.",
        "ImportError: cannot import name 'OddScheme' from 'compressed_tensors' (unknown location)",
    ),
    F.PYTHON_TOO_OLD: (
        "TypeError: type 'array.array' is not subscriptable",
        "ImportError: cannot import name 'override' from 'typing' (/usr/lib/python3.11/typing.py)",
    ),
    F.NO_SUCH_USER: (
        "KeyError: 'getpwuid(): uid not found: 61184'",
        "OSError: No username set in the environment",
    ),
    F.NATIVE_CRASH: (
        "Fatal Python error: Segmentation fault",
        "python3[4711]: segfault at 0 ip 00007f2a4c2b1d10 sp 00007ffd52a3b2c8 error 4 in libcuda.so.580.95.05",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "subprocess.CalledProcessError: Command '['/opt/vllm/bin/python3']' died with <Signals.SIGSEGV: 11>.",
    ),
    F.RAY_NODES_MISSING: (
        "ConnectionError: Could not find any running Ray instance. Please specify the one to connect to.",
        "ValueError: Cannot provide a placement group of placement_group_specs=[{'GPU': 1.0}] within 1800 seconds.",
    ),
    F.PEER_LOST: (
        "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to (10.0.0.1, 29501).",
        "RuntimeError: [../gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:4711",
    ),
    F.OOM_WAKE_UP: (
        "Exception: Call to wake_up method failed: CUDA Error: out of memory at csrc/cumem_allocator.cpp:139",
        "Exception: Call to wake_up method failed: CUDA out of memory. Tried to allocate 2.00 GiB.",
    ),
}
