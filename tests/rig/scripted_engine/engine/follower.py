# SPDX-License-Identifier: Apache-2.0
"""`vllm serve --headless`: a node that has ranks of the group and no HTTP port.

It says little, and nothing at all once its part is loaded. When its rank dies it ends with status
0; when the head is gone it says and does nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Final, NoReturn

from engine import words
from engine.core_link import CODE
from engine.group import Place
from engine.scenario import Scenario
from engine.startup import Startup
from engine.words import Speaker, line

MAIN: Final = Speaker("MainProcess", os.getpid())


class Rank:
    """The process that this node has in the group."""

    def __init__(self, place: Place, title: str) -> None:
        self._socket, theirs = socket.socketpair()
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "PYTHONHOME": "/usr",  # as for the engine core: its argv[0] is a title
            "SCRIPTED_ENGINE_FD": str(theirs.fileno()),
            "SCRIPTED_ENGINE_HEAD": place.host,
            "SCRIPTED_ENGINE_PORT": str(place.port),
            "SCRIPTED_ENGINE_RANK": str(place.rank),
        }
        with (CODE / "rank_process.py").open() as code:
            self.process: Final = subprocess.Popen(
                [title],
                executable="/usr/bin/python3",
                stdin=code,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it runs (a stopped process does)."""
        return self.process.poll() is None

    def joined(self) -> bool:
        """Waits until the group is complete; False when the process is gone before."""
        with contextlib.suppress(OSError):
            return bool(self._socket.recv(100))
        return False

    def loaded(self) -> None:
        """Tells the head that this part is ready."""
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps({"loaded": True}).encode())


class Follower(Startup):
    """One start of a headless node, and all that follows."""

    def __init__(self, arguments: argparse.Namespace, scenario: Scenario, place: Place) -> None:
        super().__init__(arguments, scenario)
        self.place = place
        self.ended = threading.Event()

    def live(self) -> NoReturn:
        """Runs to the end of the process."""
        place, split = self.place, self.place.kind == "mp"
        signal.signal(signal.SIGTERM, lambda *_: self.ended.set())
        for text in self.scenario.lines:
            line(text)
        self.phase("import", seconds=0)
        MAIN.info(
            *(
                "serve.py:224",
                "Launching vLLM (v0.32.0) headless multiproc executor, with head node address "
                f"{place.host}:{place.port} for torch.distributed process group.",
            )
            if split
            else (
                "serve.py:239",
                "Launching 1 data parallel engine(s) in headless mode, with head node address "
                f"tcp://{place.host}:{place.port}.",
            )
        )
        rank = Rank(
            place, f"VLLM::Worker_TP{place.rank}" if split else f"VLLM::EngineCore_DP{place.rank}"
        )
        self.core = rank
        name = f"Worker_TP{place.rank}" if split else f"EngineCore_DP{place.rank}"
        self.engine = Speaker(name, rank.process.pid)
        threading.Thread(target=self.begin, args=[rank], daemon=True).start()
        while rank.alive and not self.ended.wait(0.1):
            pass
        if not self.ended.is_set():
            self.lost(rank)
        rank.process.kill()
        sys.stdout.flush()
        os._exit(0)

    def begin(self, rank: Rank) -> None:
        """Loads this node's part: a replica at once, of a split model once the group is complete.

        A replica has an engine core, which says what it is configured as and what cache it has.
        """
        split = self.place.kind == "mp"
        if split and not rank.joined():
            return
        if not split:
            self.device()
        self.load()
        self.profile()
        if not split:
            self.size_kv_cache()
        self.capture()
        if split or rank.joined():
            rank.loaded()

    def lost(self, rank: Rank) -> None:
        """Says what vLLM says of a rank that died, which with data parallelism is no error."""
        if self.place.kind == "mp":
            status = rank.process.wait()
            MAIN.error(
                "multiproc_executor.py:330",
                [
                    f"Worker proc VllmWorker-{self.place.rank} died unexpectedly "
                    f"(exit code: {status}), shutting down executor."
                ],
            )
        else:
            name = f"EngineCore_DP{self.place.rank}"
            MAIN.info("utils.py:200", f"[shutdown] Process manager: send sigterm to process {name}")
            MAIN.info("serve.py:150", "Shutting down.")
        time.sleep(self.scenario.death_seconds)

    def fail(self, error: str) -> NoReturn:
        """Ends as a node does whose part does not start; the head hears a connection close."""
        code = "worker = WorkerProc(*args, **kwargs)"
        where = ("vllm/v1/executor/multiproc_executor.py", 900, "worker_main", code, error)
        self.engine.error(
            "multiproc_executor.py:900", ["WorkerProc failed to start.", *words.traceback(*where)]
        )
        self.stop(1)

    def stop(self, status: int) -> NoReturn:
        """Ends the processes, from whichever thread."""
        if self.core is not None:
            self.core.process.kill()
        sys.stdout.flush()
        os._exit(status)
