# SPDX-License-Identifier: Apache-2.0
"""The engine while it serves, and what can be made to happen to it."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import threading
import time
from typing import Any

from engine import words
from engine.core_link import CoreLink
from engine.counters import Counters, exposition
from engine.group import Group, LostPeerError
from engine.memory import Memory
from engine.scenario import Scenario
from engine.words import API, Speaker, line


class Serving:
    """Everything that the HTTP side asks of the engine."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        scenario: Scenario,
        memory: Memory,
        core: CoreLink,
        group: Group | None = None,
    ) -> None:
        self.arguments = arguments
        self.scenario = scenario
        self.memory = memory
        self.core = core
        self.group = group
        self.model = str(arguments.served_model_name or arguments.model)
        self.block = 16 if scenario.device == "cuda" else 128
        ranks = arguments.data_parallel_size
        if arguments.data_parallel_hybrid_lb:  # the front end knows its own node's alone
            ranks = arguments.data_parallel_size_local or ranks
        self.engines = [Counters() for _ in range(int(ranks or 1))]
        self.counters = self.engines[0]
        self.hung_ranks: set[int] = set()
        self.paused = False
        self.dead = False
        self.stopping = False
        self.status: int | None = None
        """Exit status, once the end has come."""
        self.ended = threading.Event()
        self.slow_seconds = 0.0
        core.on_background = self.counters.background

    def start(self) -> None:
        """Begins to watch the engine core, and to wait for the scenario's own cues."""
        threading.Thread(target=self.watch, daemon=True).start()
        for own in self.scenario.cues:
            timer = threading.Timer(float(own.get("after", 0)), self.cue, [own])
            timer.daemon = True
            timer.start()

    def watch(self) -> None:
        """Ends as vLLM does when its engine core is gone: errors for a while, then status 0."""
        self.core.process.wait()
        if self.stopping:
            return
        self.dead = True
        words.engine_is_dead()
        time.sleep(self.scenario.death_seconds)
        self.end(0)

    def end(self, status: int) -> None:
        """Lets the process end."""
        self.status = status
        self.ended.set()

    def metrics(self) -> str:
        """Returns the text of /metrics."""
        return exposition(self.engines, self.arguments, self.memory, self.model, self.block)

    def generate(self, prompt: list[int], wanted: int, rank: int = 0) -> bool:
        """Makes tokens; False when the engine is gone."""
        if self.dead or rank >= len(self.engines):
            return False
        counters = self.engines[rank]
        counters.begin(
            prompt,
            self.block,
            hits=self.scenario.prefix_hits,
            caching=bool(self.arguments.enable_prefix_caching),
        )
        while rank in self.hung_ranks:
            if self.dead or self.ended.wait(0.05):
                return False
        seconds = self.slow_seconds + wanted * self.scenario.token_seconds
        if self.group is not None and not self.by_the_group(self.group, rank):
            counters.abort()
            return False
        if self.core.generate(seconds, lambda: self.dead or self.ended.is_set()):
            first = self.slow_seconds + self.scenario.token_seconds
            counters.finish(len(prompt), wanted, first)
            return True
        counters.abort()
        return False

    def least_busy(self) -> int:
        """Returns the rank that the front end gives the next request to."""
        group = self.group
        if group is None or group.kind == "mp":
            return 0
        group.turn += 1
        ranks = range(len(self.engines))
        return min(ranks, key=lambda rank: (self.engines[rank].in_flight, (rank + group.turn) % 2))

    def by_the_group(self, group: Group, rank: int) -> bool:
        """Has the other nodes do their part; False when the engine has ended over it.

        A rank of a data-parallel group that is gone answers nothing, and nobody says so.
        """
        try:
            if group.kind == "mp":
                group.step()
            elif rank in group.ranks():
                group.ask(rank)
        except LostPeerError as lost:
            if group.kind == "mp":
                self.fatal(str(lost))
                return False
            self.ended.wait()
        return not self.ended.is_set()

    def fatal(self, error: str) -> None:
        """Ends the engine by an error in a step."""
        code = "model_output = self.model_runner.execute_model(scheduler_output)"
        where = ("vllm/v1/engine/core.py", 1500, "run_busy_loop", code, error)
        said = ["EngineCore encountered a fatal error.", *words.traceback(*where)]
        Speaker("EngineCore", self.core.process.pid).error("core.py:1512", said)
        self.core.process.kill()

    def cue(self, cue: dict[str, Any]) -> None:
        """Makes something happen; see README for the names."""
        engine = Speaker("EngineCore", self.core.process.pid)
        match cue.get("cue"):
            case "engine-dead":
                self.core.process.kill()
            case "worker-dead":
                os.kill(self.core.worker_pid, signal.SIGKILL)
            case "oom-runtime":
                total = self.scenario.total_gib
                self.fatal(words.cuda_out_of_memory(0.3, total, 0.1, total - 0.1))
            case "hang":
                self.core.send({"hang": True})
            case "hang-rank":
                self.hung_ranks.add(int(cue["rank"]))
            case "pause" | "resume":
                self.paused = cue["cue"] == "pause"
            case "busy":
                self.counters.running = int(cue.get("running", 8))
                self.counters.waiting = int(cue.get("waiting", 100))
                self.slow_seconds = float(cue.get("seconds", 30))
                self.core.send({"rate": float(cue.get("tokens_per_second", 20))})
            case "calm":
                self.counters.running = self.counters.waiting = 0
                self.slow_seconds = 0.0
                self.core.send({"rate": 0})
            case "flood":
                for number in range(int(cue["lines"])):
                    line(f"{engine.prefix} INFO flood line {number}")
            case "lines":
                for text in cue["lines"]:
                    line(text)
            case "exit":
                self.stopping = True
                self.core.process.kill()
                self.end(int(cue["status"]))
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                line(f"scripted engine: no such cue: {cue}")

    def stop(self) -> None:
        """Stops on SIGTERM: requests in flight get --shutdown-timeout seconds to end."""
        if self.stopping or self.scenario.sigterm_while_serving == "ignore":
            return
        self.stopping = True
        API.info("launcher.py:254", "[shutdown] API server: shutdown triggered")
        drain = int(self.arguments.shutdown_timeout)
        mode = "drain" if drain else "abort"
        API.info(
            "launcher.py:270",
            f"[shutdown] API server: stopping engine client mode={mode} timeout={drain}s",
        )
        until = time.monotonic() + drain
        while self.counters.in_flight and time.monotonic() < until:
            time.sleep(0.02)
        with contextlib.suppress(OSError):
            self.core.process.kill()
        words.output_handler_failed()
        self.end(0)
