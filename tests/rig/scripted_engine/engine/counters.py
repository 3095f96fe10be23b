# SPDX-License-Identifier: Apache-2.0
"""What the engine has done so far, and /metrics of it in vLLM 0.32's words."""

from __future__ import annotations

import argparse
import threading
from dataclasses import dataclass, field

from engine.memory import Memory


@dataclass(slots=True)
class Counters:
    """Counts as vLLM's."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    iterations: int = 0
    queries: int = 0
    hits: int = 0
    requests: int = 0
    first_token_seconds: float = 0.0
    """How long the requests waited for their first token in all."""
    in_flight: int = 0
    running: int = 0
    """The running requests of a simulated load, besides those in flight."""
    waiting: int = 0
    prompts: list[list[int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, prompt: list[int], block: int, *, hits: bool, caching: bool) -> None:
        """Takes up a request: its prompt is counted, and looked up in the prefix cache."""
        with self.lock:
            self.in_flight += 1
            if caching:
                self.queries += len(prompt)
                # The last token is always computed, so a full hit is one block short of it.
                longest = max((shared(prompt, seen) for seen in self.prompts), default=0)
                self.hits += min(longest, len(prompt) - 1) // block * block if hits else 0
                self.prompts.append(prompt)

    def finish(self, prompt_tokens: int, generated: int, first_token_seconds: float) -> None:
        """Counts a request that is done."""
        with self.lock:
            self.in_flight -= 1
            self.prompt_tokens += prompt_tokens
            self.generation_tokens += generated
            self.iterations += generated
            self.requests += 1
            self.first_token_seconds += first_token_seconds

    def abort(self) -> None:
        """Drops a request that got no answer."""
        with self.lock:
            self.in_flight -= 1

    def background(self, tokens: int) -> None:
        """Counts tokens of the simulated load."""
        with self.lock:
            self.generation_tokens += tokens
            self.iterations += 1


def shared(one: list[int], other: list[int]) -> int:
    """Returns how many tokens two prompts have in common from the start."""
    same = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        same += 1
    return same


def exposition(
    engines: list[Counters], arguments: argparse.Namespace, memory: Memory, model: str, block: int
) -> str:
    """Returns the text of /metrics, with the samples of each engine under its label."""
    lines: list[str] = []
    for number, counters in enumerate(engines):
        lines += _of_one(counters, f'engine="{number}",model_name="{model}"', head=not number)
    config = {
        "block_size": block,
        "cache_dtype": arguments.kv_cache_dtype,
        "enable_prefix_caching": arguments.enable_prefix_caching,
        "engine": 0,
        "gpu_memory_utilization": arguments.gpu_memory_utilization,
        "kv_cache_max_concurrency": memory.kv_tokens / memory.max_model_len,
        "kv_cache_memory_bytes": arguments.kv_cache_memory_bytes,
        "kv_cache_size_tokens": memory.kv_tokens,
        "num_gpu_blocks": memory.kv_tokens // block,
        "sliding_window": None,
    }
    inside = ",".join(f'{key}="{value}"' for key, value in config.items())
    lines.append("# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig")
    lines.append("# TYPE vllm:cache_config_info gauge")
    lines.append(f"vllm:cache_config_info{{{inside}}} 1.0")
    return "\n".join(lines) + "\n"


def _of_one(counters: Counters, labels: str, *, head: bool) -> list[str]:
    samples = [
        ("gauge", "num_requests_running", "", counters.running + counters.in_flight),
        ("gauge", "num_requests_waiting", "", counters.waiting),
        ("gauge", "kv_cache_usage_perc", "", 0.5 if counters.waiting else 0.0),
        ("counter", "prompt_tokens", "_total", counters.prompt_tokens),
        ("counter", "generation_tokens", "_total", counters.generation_tokens),
        ("counter", "prefix_cache_queries", "_total", counters.queries),
        ("counter", "prefix_cache_hits", "_total", counters.hits),
        ("counter", "num_preemptions", "_total", 0),
        ("counter", "request_success", "_total", counters.requests),
        ("histogram", "iteration_tokens_total", "_count", counters.iterations),
        ("histogram", "time_to_first_token_seconds", "_count", counters.requests),
    ]
    sums = {
        "iteration_tokens_total": float(counters.generation_tokens),
        "time_to_first_token_seconds": counters.first_token_seconds,
    }
    lines = []
    for kind, name, suffix, value in samples:
        # prometheus_client declares a counter with its _total.
        declared = name + (suffix if kind == "counter" else "")
        if head:
            lines.append(f"# HELP vllm:{declared} Of the scripted engine.")
            lines.append(f"# TYPE vllm:{declared} {kind}")
        if kind == "histogram":
            lines.append(f'vllm:{name}_bucket{{{labels},le="+Inf"}} {float(value)}')
            lines.append(f"vllm:{name}_sum{{{labels}}} {sums[name]}")
        lines.append(f"vllm:{name}{suffix}{{{labels}}} {float(value)}")
    return lines
