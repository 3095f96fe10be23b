# SPDX-License-Identifier: Apache-2.0
"""Plays vLLM's start: its lines in their order, and its failures by the scenario's arithmetic."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import NoReturn, Protocol

from engine import words
from engine.configuration import config_line, derived_length, kernel_line
from engine.core_link import CoreLink
from engine.flags import non_default
from engine.group import Group, Joined, LostPeerError, Place
from engine.memory import FP8, Memory, account, gib
from engine.scenario import Phase, Scenario
from engine.words import API, Speaker, bar, line, out

SEE = "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details."


class Engine(Protocol):
    """The process that loads the model."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Its process."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""


class Startup:
    """One start, from the parsed command line to the engine that is ready."""

    def __init__(self, arguments: argparse.Namespace, scenario: Scenario) -> None:
        self.arguments = arguments
        self.scenario = scenario
        self.memory: Memory = account(arguments, scenario, derived_length(arguments.model))
        self.core: Engine | None = None
        self.engine = API
        self.group: Group | None = None
        """Those that have a part in the requests of this node."""
        self.met: Group | Joined | None = None
        """Those that it starts together with."""

    def play(self) -> CoreLink:
        """Goes through all phases; ends the process with status 1 where one fails."""
        began = time.monotonic()
        self.front_end()
        self.core = core = CoreLink(self.scenario.sigterm_during_start)
        self.engine = Speaker("EngineCore", core.process.pid)
        self.device()
        if place := Place.of(self.arguments):
            self.met = self.gather(place)
        self.load()
        self.profile()
        self.size_kv_cache()
        self.capture()
        if self.met is not None:
            self.wait_for_others(self.met)
        took = time.monotonic() - began
        self.engine.info(
            "core.py:402", f"init engine (profile, create kv cache, warmup model) took {took:.2f} s"
        )
        return core

    def gather(self, place: Place) -> Group | Joined:
        """Waits for the other nodes, for ever if need be."""
        if place.rank:
            joined = Joined(place)
            joined.gather(self.look)
            return joined
        group = Group(place)
        waits = "Waiting for READY message from DP Coordinator..."
        is_split = place.kind == "mp"
        group.gather(self.look, lambda: None if is_split else API.info("utils.py:1300", waits))
        if place.kind != "hybrid":
            self.group = group
        return group

    def wait_for_others(self, group: Group | Joined) -> None:
        """Waits until all nodes have loaded their part."""
        try:
            group.loaded()
        except LostPeerError as lost:
            self.fail(str(lost))

    def front_end(self) -> None:
        """The API server's own lines, and the checks of the configuration."""
        arguments = self.arguments
        for text in self.scenario.lines:
            line(text)
        API.info("api_utils.py:347", "  version 0.32.0")
        API.info("api_utils.py:347", f"  model   {arguments.model}")
        API.info("api_utils.py:286", f"non-default args: {non_default(arguments)}")
        self.phase("import", seconds=0)
        API.info("model.py:733", "Resolved architecture: LlamaForCausalLM")
        API.info("model.py:2152", f"Using max model len {self.memory.max_model_len}")
        if arguments.kv_cache_dtype in FP8:
            API.info(
                "cache.py:361",
                f"Using {arguments.kv_cache_dtype} data type to store kv cache. It reduces the "
                "GPU memory footprint and boosts the performance. Meanwhile, it may cause accuracy "
                "drop without a proper scaling factor",
            )
        API.info(
            "scheduler.py:276",
            "Chunked prefill is enabled with "
            f"max_num_batched_tokens={arguments.max_num_batched_tokens}.",
        )

    def device(self) -> None:
        """The engine's configuration, and the check of free memory before anything is loaded."""
        self.engine.info("core.py:133", config_line(self.arguments, self.scenario, self.memory))
        free, memory = self.scenario.free_gib, self.memory
        if free >= memory.requested:
            return
        asked = f"({self.arguments.gpu_memory_utilization}, {gib(memory.requested)} GiB)"
        shares = f"({gib(free)}/{gib(self.scenario.total_gib)} GiB) on startup is less than desired"
        if self.scenario.device == "cpu":
            self.fail(
                f"ValueError: Available memory on node 0 {shares} CPU memory utilization {asked}. "
                "On the CPU backend, the `--gpu-memory-utilization` flag controls the fraction of "
                "CPU memory reserved (despite its name). To resolve: decrease "
                "`--gpu-memory-utilization` (e.g. `--gpu-memory-utilization 0.5`) or reduce CPU "
                "memory used by other processes."
            )
        self.fail(
            f"ValueError: Free memory on device cuda:0 {shares} GPU memory utilization {asked}. "
            "Decrease GPU memory utilization or reduce GPU memory used by other processes."
        )

    def load(self) -> None:
        """Weights: the kernel's line, the bar, and what they take."""
        engine, scenario = self.engine, self.scenario
        engine.info("gpu_model_runner.py:5087", f"Starting to load model {self.arguments.model}...")
        if kernel := kernel_line(self.arguments, scenario):
            engine.info("auto_awq.py:451", kernel)
        title = "Loading safetensors checkpoint shards"
        out(bar(title, 4, "Completed ", 0))
        for shard in range(1, 5):
            self.phase("load", seconds=scenario.seconds("load") / 4)
            if self.memory.weights > scenario.free_gib:
                out("\n")
                self.out_of_memory(0.22, left=0.08)
            out(bar(title, 4, "Completed ", shard))
        out("\n")
        took = scenario.seconds("load")
        engine.info("default_loader.py:501", f"Loading weights took {took:.2f} seconds")
        if scenario.device == "cuda":
            engine.info(
                "gpu_model_runner.py:5150",
                f"Model loading took {gib(self.memory.weights)} GiB memory and {took:.6f} seconds",
            )

    def profile(self) -> None:
        """Compilation, and the run that shows the peak of activations."""
        took = self.scenario.seconds("compile")
        if not self.arguments.enforce_eager:
            self.engine.info(
                "backends.py:1089", f"Dynamo bytecode transform time: {took / 4:.2f} s"
            )
        self.phase("compile", seconds=took)
        room = self.scenario.free_gib - self.memory.weights - self.scenario.non_torch_gib
        if self.memory.activation > room:
            self.out_of_memory(self.memory.activation, left=max(room, 0.01))
        if not self.arguments.enforce_eager:
            self.engine.info("monitor.py:53", f"torch.compile took {took:.2f} s in total")

    def size_kv_cache(self) -> None:
        """What is left for the KV cache, or that it is too little."""
        memory, engine = self.memory, self.engine
        if self.scenario.device == "cuda":
            if memory.graph_estimate:
                estimate = f"Estimated CUDA graph memory: {memory.graph_estimate:.2f} GiB total"
                engine.info("gpu_model_runner.py:6475", estimate)
            if self.arguments.kv_cache_memory_bytes is None:
                available = f"Available KV cache memory: {gib(memory.available_kv)} GiB"
            else:
                available = (
                    f"Initial free memory {gib(self.scenario.free_gib)} GiB, reserved "
                    f"{gib(memory.available_kv)} GiB memory for KV Cache as specified by "
                    "kv_cache_memory_bytes config and skipped memory profiling. This does not "
                    "respect the gpu_memory_utilization config."
                )
            engine.info("gpu_worker.py:759", available)
        if memory.available_kv <= 0:
            self.fail(
                "ValueError: No available memory for the cache blocks. Try increasing "
                "`gpu_memory_utilization` when initializing the engine (this flag also controls "
                f"CPU memory reservation on the CPU backend, despite its name). {SEE}"
            )
        if memory.needed_kv > memory.available_kv:
            self.fail(
                "ValueError: To serve at least one request with the model's max seq len "
                f"({memory.max_model_len}), ({gib(memory.needed_kv)} GiB KV cache is needed, which "
                f"is larger than the available KV cache memory ({gib(memory.available_kv)} GiB). "
                "Based on the available memory, the estimated maximum model length is "
                f"{memory.estimated_max_model_len}. Try increasing `gpu_memory_utilization` (which "
                "also controls CPU memory on the CPU backend) or decreasing `max_model_len` when "
                f"initializing the engine. {SEE}"
            )
        if self.scenario.device == "cpu":
            engine.info(
                "cpu_worker.py:260",
                f"Auto set ({gib(memory.available_kv)}/{gib(self.scenario.total_gib)}) GiB for KV "
                f"cache on node 0, with {gib(memory.requested)} GiB requested memory for the "
                f"worker. {gib(memory.requested - memory.available_kv)} GiB memory was consumed "
                "by non-kv usages.",
            )
        pool = "GPU" if self.scenario.device == "cuda" else "CPU"
        concurrency = memory.kv_tokens / memory.max_model_len
        engine.info(
            "kv_cache_utils.py:2327",
            f"{pool} KV cache size: {memory.kv_tokens:,} tokens, Maximum concurrency for "
            f"{memory.max_model_len:,} tokens per request: {concurrency:.2f}x",
        )

    def capture(self) -> None:
        """The sampler's warm-up and the CUDA graphs, in the memory that the KV cache left."""
        scenario, seqs = self.scenario, self.arguments.max_num_seqs
        left = self.memory.left
        if seqs * scenario.sampler_gib_per_seq > left:
            self.fail(
                "RuntimeError: CUDA out of memory occurred when warming up sampler with "
                f"{seqs} dummy requests. Please try lowering `max_num_seqs` or "
                "`gpu_memory_utilization` when initializing the engine."
            )
        if self.arguments.enforce_eager or scenario.device == "cpu":
            self.phase("capture", seconds=scenario.seconds("capture"))
            return
        title = "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE)"
        out(bar(title, 2, "", 0))
        self.phase("capture", seconds=scenario.seconds("capture"))
        if scenario.graph_gib > left:
            out("\n")
            self.out_of_memory(scenario.graph_gib - left, left=max(left, 0.01))
        out(bar(title, 2, "", 2) + "\n")
        self.engine.info(
            "gpu_model_runner.py:6581",
            f"Graph capturing finished in {scenario.seconds('capture'):.0f} secs, "
            f"took {scenario.graph_gib:.2f} GiB",
        )

    def phase(self, name: Phase, *, seconds: float) -> None:
        """Lets a phase last, and stalls or fails in it where the scenario says so."""
        if self.scenario.fail_at == name:
            out("\n" if name in ("load", "capture") else "")  # a bar may be under way
            for text in self.scenario.fail_lines:
                line(text)
            self.stop(self.scenario.fail_status)
        end = time.monotonic() + seconds
        while time.monotonic() < end or self.scenario.stall_at == name:
            time.sleep(min(0.05, max(0.0, end - time.monotonic())) or 0.05)
            self.look()

    def look(self) -> None:
        """Ends as vLLM does when its engine core has died."""
        if self.core is not None and not self.core.alive:
            words.engine_core_is_gone()
            self.stop(1)

    def out_of_memory(self, wanted: float, *, left: float) -> NoReturn:
        """Fails with torch's message; both in GiB."""
        total = self.scenario.total_gib
        self.fail(words.cuda_out_of_memory(wanted, total, left, total - left))

    def fail(self, error: str) -> NoReturn:
        """Ends as an engine does that fails to start."""
        code = "engine_core = EngineCoreProc(*args, engine_index=dp_rank, **kwargs)"
        words.start_failed(self.engine, error, code=code, function="run_engine_core")
        self.stop(1)

    def stop(self, status: int) -> NoReturn:
        """Ends the processes."""
        if self.core is not None:
            self.core.process.kill()
            self.core.process.wait()
        sys.exit(status)
