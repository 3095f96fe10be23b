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
}
