# SPDX-License-Identifier: Apache-2.0
"""Lines as vLLM 0.32 prints them: log lines have a prefix, tracebacks at the end have none."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

PACKAGES: Final = "/opt/vllm/lib/python3.11/site-packages"
_LOCK: Final = threading.Lock()


def out(text: str) -> None:
    """Writes text as it is, at once."""
    with _LOCK:
        sys.stdout.write(text)
        sys.stdout.flush()


def line(text: str) -> None:
    """Writes one bare line."""
    out(text + "\n")


class Speaker:
    """One of vLLM's processes, with its prefix."""

    def __init__(self, name: str, pid: int) -> None:
        self.prefix = f"({name} pid={pid})"

    def log(self, level: str, place: str, text: str) -> None:
        """Writes one log line; place is file.py:number."""
        now = time.strftime("%m-%d %H:%M:%S")
        line(f"{self.prefix} {level} {now} [{place}] {text}")

    def info(self, place: str, text: str) -> None:
        """Writes one INFO line."""
        self.log("INFO", place, text)

    def error(self, place: str, texts: Sequence[str]) -> None:
        """Writes ERROR lines, each with the prefix, as logger.exception does."""
        for text in texts:
            self.log("ERROR", place, text)


API: Final = Speaker("APIServer", os.getpid())


def traceback(file: str, number: int, function: str, code: str, error: str) -> list[str]:
    """Returns a traceback of one frame."""
    return [
        "Traceback (most recent call last):",
        f'  File "{PACKAGES}/{file}", line {number}, in {function}',
        f"    {code}",
        error,
    ]


def bar(title: str, total: int, unit: str, done: int) -> str:
    """Returns one state of a tqdm bar, which begins with a carriage return."""
    return f"\r{title}: {100 * done // total:3d}% {unit}| {done}/{total} [00:00<00:00,  9.87it/s]"


def cuda_out_of_memory(wanted: float, total: float, free: float, ours: float) -> str:
    """Returns torch's message; all in GiB."""
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {wanted * 1024:.2f} MiB. "
        f"GPU 0 has a total capacity of {total:.2f} GiB of which {free * 1024:.2f} MiB is free. "
        f"Including non-PyTorch memory, this process has {ours:.2f} GiB memory in use. Of the "
        f"allocated memory {ours * 0.97:.2f} GiB is allocated by PyTorch, and 41.20 MiB is "
        "reserved by PyTorch but unallocated. If reserved but unallocated memory is large try "
        "setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )


ENGINE_DEAD: Final = (
    "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. "
    "See stack trace (above) for the root cause."
)


def connection_closed(host: str, port: int) -> str:
    """Returns gloo's sentence on a peer that is gone, as the worker's error; no cause is in it."""
    pair = "/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553"
    return (
        f"RuntimeError: Worker failed with error '[{pair}] Connection closed by peer "
        f"[{host}]:{port}. This is typically caused by a remote worker crash or abort.', please "
        "check the stack trace above for the root cause"
    )


def engine_is_dead() -> None:
    """Writes what the API server says when its engine is gone."""
    API.log(
        "WARNING",
        "core_client.py:809",
        "[shutdown] MPClient: engine core exited unexpectedly; starting cleanup",
    )
    API.info("core_client.py:770", "[shutdown] MPClient: start timeout=default")
    API.info("core_client.py:777", "[shutdown] MPClient: complete")
    output_handler_failed()


def output_handler_failed() -> None:
    """Writes the traceback that ends every engine, a clean SIGTERM included."""
    code = "outputs = await engine_core.get_output_async()"
    handler = ("vllm/v1/engine/async_llm.py", 690, "output_handler", code, ENGINE_DEAD)
    API.error("async_llm.py:744", ["AsyncLLM output_handler failed.", *traceback(*handler)])


def start_failed(core: Speaker, error: str, *, code: str, function: str) -> None:
    """Writes how an engine that failed to start takes the API server with it."""
    core.error(
        "core.py:1510",
        [
            "EngineCore failed to start.",
            *traceback("vllm/v1/engine/core.py", 1482, function, code, error),
        ],
    )
    line("Process EngineCore:")
    for text in traceback("vllm/v1/engine/core.py", 1514, "run_engine_core", "raise e", error):
        line(text)
    engine_core_is_gone()


def engine_core_is_gone() -> None:
    """Writes the wrapper that names no cause."""
    failed = (
        "RuntimeError: Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {'EngineCore': 1}"
    )
    where = ("vllm/v1/engine/utils.py", 1431, "wait_for_engine_startup", "raise RuntimeError(")
    for text in traceback(*where, failed):
        line(text)
