# SPDX-License-Identifier: Apache-2.0
"""A process that runs: its command line, and of its environment what is vLLM's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.core.command.line import DEMO_SERVER, NotVllmError, vllm_line
from agent.core.foreign.found import OF_THE_DEMO, Found, Left, NoEngineError

MATTERS = re.compile(
    r"(?:VLLM|HF|HUGGING_FACE|HUGGINGFACE|CUDA|NCCL|TORCH|PYTORCH|TRITON|FLASHINFER|TRANSFORMERS"
    r"|GLOO|OMP|MKL|RAY|NVIDIA|TIKTOKEN|SAFETENSORS|LMCACHE|UCX|NVSHMEM|OTEL|MOONCAKE|NIXL"
    r"|TILELANG|CUTLASS|DG|TORCHINDUCTOR|MODELSCOPE|OPENBLAS|NUMEXPR)_.*"
    r"|(?:https?|no|all)_proxy|LD_LIBRARY_PATH|LD_PRELOAD|TZ|PYTHONPATH|PYTHONHASHSEED"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE",
    re.IGNORECASE,
)
"""Variables that libraries of an engine read; the rest of a process's is its shell's."""


def engine_of_process(
    words: tuple[str, ...], environment: Mapping[str, str], user: str, directory: str
) -> Found:
    """Return the engine that runs as a process on the host; raises NoEngineError."""
    try:
        line = vllm_line(words)
    except NotVllmError as error:
        raise NoEngineError(str(error)) from error
    interpreter = words[0] if words[0].rpartition("/")[2].startswith("python") else ""
    program = line.program if "/" in line.program else interpreter or line.program
    return Found(
        "vllm",
        line.words,
        {name: value for name, value in environment.items() if MATTERS.fullmatch(name)},
        program=program,
        user=user,
        directory=directory,
        left=(Left(DEMO_SERVER, OF_THE_DEMO),) if DEMO_SERVER in words else (),
    )
