# SPDX-License-Identifier: Apache-2.0
"""VLLM::EngineCore: takes requests from the API server, and answers when their tokens are due.

Run from standard input, so that the command line is the title alone, as vLLM's is. Stopped by
SIGSTOP it answers nothing, killed it takes its worker along, like the real one.
"""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(os.environ["SCRIPTED_ENGINE_CODE"])


def title(text: bytes) -> None:
    """Sets the name that `ps` and the kernel's log show (15 characters)."""
    ctypes.CDLL(None).prctl(15, text)


def worker() -> None:
    """VLLM::Worker: lives as long as the engine core."""
    title(b"VLLM::Worker")
    os.read(int(os.environ["SCRIPTED_ENGINE_FD"]), 1)
    now = time.strftime("%m-%d %H:%M:%S")
    print(
        f"(Worker pid={os.getpid()}) INFO {now} [multiproc_executor.py:843] "
        "Parent process exited, terminating worker queues",
        flush=True,
    )


def core() -> None:
    """Serves until the API server hangs up, or the worker dies."""
    title(b"VLLM::EngineCore")
    api = socket.socket(fileno=int(os.environ["SCRIPTED_ENGINE_FD"]))
    theirs, ours = os.pipe()
    environment = os.environ | {"SCRIPTED_ENGINE_ROLE": "worker", "SCRIPTED_ENGINE_FD": str(theirs)}
    with (HERE / "core_process.py").open() as code:
        worker_process = subprocess.Popen(
            ["VLLM::Worker"],
            executable="/usr/bin/python3",
            stdin=code,
            pass_fds=[theirs],
            env=environment,
        )
    os.close(theirs)
    say(api, {"worker": worker_process.pid})
    due: list[tuple[float, dict[str, Any]]] = []
    rate, ticked, hung, rest = 0.0, time.monotonic(), False, b""
    while True:
        if worker_process.poll() is not None:
            dead_worker()
        ready, _, _ = select.select([api], [], [], 0.02)
        if ready:
            data = api.recv(65536)
            if not data:
                break
            *words, rest = (rest + data).split(b"\n")
            for word in map(json.loads, words):
                match word:
                    case {"hang": True}:
                        hung = True
                    case {"rate": rate}:
                        ticked = time.monotonic()
                    case {"seconds": seconds}:
                        due.append((time.monotonic() + seconds, word))
        now = time.monotonic()
        if hung:
            continue
        if rate and (tokens := int((now - ticked) * rate)):
            ticked += tokens / rate
            say(api, {"background": tokens})
        for item in [item for item in due if item[0] <= now]:
            due.remove(item)
            say(api, item[1])
    os.close(ours)
    worker_process.kill()


def dead_worker() -> None:
    """Ends as vLLM does when a worker was killed."""
    now = time.strftime("%m-%d %H:%M:%S")
    print(
        f"(EngineCore pid={os.getpid()}) ERROR {now} [multiproc_executor.py:330] "
        "Worker proc VllmWorker-0 died unexpectedly, shutting down executor.",
        flush=True,
    )
    os._exit(1)


def say(api: socket.socket, word: dict[str, Any]) -> None:
    """Sends one word to the API server."""
    api.sendall(json.dumps(word).encode() + b"\n")


if os.environ.get("SCRIPTED_ENGINE_SIGTERM") == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if os.environ["SCRIPTED_ENGINE_ROLE"] == "worker":
    worker()
else:
    core()
