# SPDX-License-Identifier: Apache-2.0
"""The API server's end of its engine: starts VLLM::EngineCore, hands it work, sees it die."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

CODE: Final = Path(__file__).parent


class CoreLink:
    """A running engine core and what it was given to do."""

    def __init__(self, sigterm: str) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            # With the title for argv[0], python cannot find its library by itself.
            "PYTHONHOME": "/usr",
            "SCRIPTED_ENGINE_CODE": str(CODE),
            "SCRIPTED_ENGINE_FD": str(theirs.fileno()),
            "SCRIPTED_ENGINE_ROLE": "core",
            "SCRIPTED_ENGINE_SIGTERM": sigterm,
        }
        with (CODE / "core_process.py").open() as code:
            self.process: Final = subprocess.Popen(
                ["VLLM::EngineCore"],
                executable="/usr/bin/python3",
                stdin=code,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        theirs.close()
        self._words = ours.makefile("r")
        self.worker_pid = int(json.loads(self._words.readline())["worker"])
        self._waiting: dict[int, threading.Event] = {}
        self._numbers = iter(range(1, 1 << 62))
        self._lock = threading.Lock()
        self.on_background: Callable[[int], None] = lambda _: None
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the engine core runs (a stopped process does)."""
        return self.process.poll() is None

    def generate(self, seconds: float, given_up: Callable[[], bool]) -> bool:
        """Waits until the engine has worked for so long; False when it is gone or given up."""
        with self._lock:
            number = next(self._numbers)
            done = self._waiting[number] = threading.Event()
        try:
            self.send({"seconds": seconds, "number": number})
        except OSError:
            return False
        while not done.wait(0.05):
            if given_up():
                return False
        return True

    def send(self, word: dict[str, Any]) -> None:
        """Sends one word to the engine core; OSError when it is gone."""
        with self._lock:
            self._socket.sendall(json.dumps(word).encode() + b"\n")

    def _listen(self) -> None:
        for text in self._words:
            match json.loads(text):
                case {"background": tokens}:
                    self.on_background(tokens)
                case {"number": number}:
                    self._waiting.pop(number).set()
