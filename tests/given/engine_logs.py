# SPDX-License-Identifier: Apache-2.0
"""Short vLLM logs of our own making for the tests, and the ways in which lines are carried."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.diagnosis.signatures import SignatureSet
from agent.host.data.signatures import load_signatures

SIGNATURES: SignatureSet = load_signatures(with_examples=True)
SITE = "/opt/vllm/lib/python3.12/site-packages"
"""Where the packages are that frames of a traceback name."""


def read(text: str | Iterable[str]) -> LogReader:
    """Feed a log to a new reader."""
    reader = LogReader(SIGNATURES)
    for line in text.strip("\n").split("\n") if isinstance(text, str) else text:
        reader.feed(line)
    return reader


def diagnose(text: str | Iterable[str]) -> Diagnosis:
    """Return what a log shows."""
    return read(text).diagnosis()


def v1(text: str, process: str = "EngineCore pid=42", level: str = "INFO") -> str:
    """Put the prefix of vLLM 0.10..0.32 before every line."""
    head = f"({process}) {level} 11-21 03:05:45 [core.py:97] "
    return "\n".join(head + line for line in text.strip("\n").split("\n"))


def failed(text: str) -> str:
    """Return the log of an engine that died at start with this exception."""
    death = f"EngineCore failed to start.\nTraceback (most recent call last):\n{text}"
    return v1(death, level="ERROR")


def thrown_by(*frames: str, exception: str) -> str:
    """Return the lines of a traceback behind its heading; a frame is "PATH:FUNCTION" in SITE."""
    lines: list[str] = []
    for frame in frames:
        path, _, function = frame.partition(":")
        lines += [f'  File "{SITE}/{path}", line 7, in {function}', "    odd = call(self)"]
    return "\n".join([*lines, exception])


STARTING = """
(APIServer pid=1) INFO 11-21 03:05:00 [api_utils.py:1] non-default args: {'model': '/srv/m', 'gpu_memory_utilization': 0.9, 'max_num_seqs': 64}
(EngineCore pid=42) INFO 11-21 03:05:10 [core.py:97] Initializing a V1 LLM engine (v0.28.0) with config: model='/srv/m', dtype=torch.bfloat16, max_seq_len=8192, tensor_parallel_size=1, quantization=None, enforce_eager=False, kv_cache_dtype=auto, device_config=cuda, seed=0, served_model_name=m, enable_prefix_caching=True, enable_chunked_prefill=True
"""  # noqa: E501
LOADING = STARTING + v1("Starting to load model /srv/m...")
PROFILING = LOADING + "\n" + v1("Loading weights took 4.20 seconds")
WARMING = PROFILING + "\n" + v1("Available KV cache memory: 4.60 GiB")
CAPTURING = (
    WARMING + "\n" + "Capturing CUDA graphs (decode, FULL):  40%|████      | 4/10 [00:01<00:02]"
)
SERVING = (
    WARMING
    + """
(APIServer pid=1) INFO 11-21 03:06:00 [launcher.py:1] Starting vLLM server on http://0.0.0.0:8000
INFO:     Application startup complete.
INFO:     10.0.0.2:4000 - "POST /v1/completions HTTP/1.1" 200 OK"""
)
DEATH_AT_START = """
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"""  # noqa: E501


def died_in(*frames: str, exception: str, before: str = STARTING) -> str:
    """Return the log of a start that an exception ended, thrown by the last frame."""
    return f"{before}\n{failed(thrown_by(*frames, exception=exception))}{DEATH_AT_START}"


ALLOCATION = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total "
    "capacity of 23.53 GiB of which 256.00 MiB is free."
)

CARRIERS: dict[str, Callable[[str], str]] = {
    "plain": lambda line: line,
    "journal": lambda line: f"Nov 21 03:50:01 gpu-1 vllm[4711]: {line}",
    "journal-iso": lambda line: f"2025-11-21T03:50:01+0000 gpu-1 vllm[4711]: {line}",
    "journal-monotonic": lambda line: f"[12345.678901] gpu-1 vllm[4711]: {line}",
    "docker": lambda line: f"2025-11-21T03:50:01.123456789Z {line}",
    "compose": lambda line: f"vllm-1  | {line}",
    "kubectl": lambda line: f"[pod/vllm-0/vllm] {line}",
    "kubectl-stamped": lambda line: f"[pod/vllm-0/vllm] 2025-11-21T03:50:01.123456789Z {line}",
    "slurm": lambda line: f"3: {line}",
    "compose-stamped": lambda line: f"vllm-1  | 2025-11-21T03:50:01.123456789Z {line}",
    "cri": lambda line: f"2025-11-21T03:50:01.123456789+00:00 stderr F {line}",
    "coloured": lambda line: f"\x1b[1;36m{line[:12]}\x1b[0;0m{line[12:]}",
    "windows": lambda line: f"{line}\r",
    "docker-json": lambda line: json.dumps({"log": f"{line}\n", "stream": "stderr"}),
    "journal-json": lambda line: json.dumps({"PRIORITY": "6", "MESSAGE": line}),
    "logfmt": lambda line: f"time=2025-11-21T03:50:01Z level=info msg={json.dumps(line)} unit=vllm",
    "journal-bytes": lambda line: json.dumps({"MESSAGE": list(f"\r{line}".encode())}),
}
