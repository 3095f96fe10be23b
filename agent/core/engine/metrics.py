# SPDX-License-Identifier: Apache-2.0
"""vLLM's /metrics text to the few numbers that tell whether it lives (vLLM 0.6..0.32)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from types import MappingProxyType

from agent.core.plain import plain_name
from agent.core.record import dataclass

_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_LABEL = re.compile(r'[{, \t]*([A-Za-z_][A-Za-z0-9_]*)="([^"\\]*(?:\\.[^"\\]*)*)"')
_ESCAPE = re.compile(r"\\(.)")
MOST_SAMPLES = 4096
"""Of one name: a sample for each engine and label is a few dozen; what is beyond is no vLLM's."""
MOST_LABELS = 256
LONGEST_LABELS = 32768
LONGEST_VALUE = 64
LARGEST = 2.0**63
"""Nothing that is counted here comes near; two numbers of 1e308 have no sum."""

ENGINE_DIGITS = 4
"""The label "engine" of vLLM is the rank's number; what is longer is not vLLM's."""


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """What one scrape says of one engine of a data-parallel service; `pulse` as in Counters."""

    running: int = 0
    waiting: int = 0
    pulse: tuple[float, ...] = ()


_ONE_ENGINE: Mapping[str, EngineCounters] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Counters:
    """What one scrape says, summed over engines and labels; None where vLLM has no such metric.

    Token and request numbers only grow until the engine restarts.
    """

    running: int = 0
    waiting: int = 0
    """With requests that V0 has swapped out."""

    prompt_tokens: float = 0.0
    generation_tokens: float = 0.0
    iteration_tokens_count: float = 0.0
    """How many steps the engine has made."""

    requests_success: float = 0.0
    preemptions: float | None = None
    first_tokens: float | None = None
    """How many requests have had their first token."""

    first_token_seconds: float | None = None
    """How long those waited for it in all."""

    kv_cache_usage: float | None = None
    """A share 0..1, that of the fullest engine."""

    prefix_cache_queries: float | None = None
    prefix_cache_hits: float | None = None
    asleep: bool = False
    """As /sleep has it."""

    cache_config: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    engines: Mapping[str, EngineCounters] = field(default_factory=lambda: _ONE_ENGINE)
    """Each by its label "engine" (0.8.5 and later), where there are several."""

    @property
    def pulse(self) -> tuple[float, ...]:
        """What changes only when the engine does something: its steps, and its cache's filling.

        A prefill in chunks takes up cache blocks long before its tokens are counted. The queue is
        not part of it: requests come and give up without the engine.
        """
        return (self.work, self.kv_cache_usage or 0.0, self.preemptions or 0.0)

    @property
    def work(self) -> float:
        """A number that grows whenever the engine does anything: tokens in, tokens out, steps."""
        return self.prompt_tokens + self.generation_tokens + self.iteration_tokens_count


def scan(text: bytes) -> Counters | None:
    """Read the Prometheus text of vLLM; None when it holds neither a queue nor a token counter.

    Looks up the wanted names only, which costs a fraction of a full parse, and takes time that is
    linear in the text whatever it holds; a number that no counter can have is left out. Names by
    version:
    `gpu_cache_usage_perc` 0.6..0.11, `kv_cache_usage_perc` from 0.9; `gpu_prefix_cache_*`
    0.7..0.11, `prefix_cache_*` from 0.9; where both are there, the newer one counts.
    """
    running = _values(text, b"vllm:num_requests_running")
    prompt = _values(text, b"vllm:prompt_tokens_total")
    if not running and not prompt:
        return None
    usage = _values(text, b"vllm:kv_cache_usage_perc") or _values(
        text, b"vllm:gpu_cache_usage_perc"
    )
    return Counters(
        running=int(math.fsum(running)),
        waiting=int(
            math.fsum(_values(text, b"vllm:num_requests_waiting"))
            + math.fsum(_values(text, b"vllm:num_requests_swapped"))
        ),
        prompt_tokens=math.fsum(prompt),
        generation_tokens=math.fsum(_values(text, b"vllm:generation_tokens_total")),
        iteration_tokens_count=math.fsum(_values(text, b"vllm:iteration_tokens_total_count")),
        requests_success=math.fsum(_values(text, b"vllm:request_success_total")),
        preemptions=_sum(_values(text, b"vllm:num_preemptions_total")),
        first_tokens=_sum(_values(text, b"vllm:time_to_first_token_seconds_count")),
        first_token_seconds=_sum(_values(text, b"vllm:time_to_first_token_seconds_sum")),
        kv_cache_usage=max(usage, default=None),
        prefix_cache_queries=_either(text, b"prefix_cache_queries_total"),
        prefix_cache_hits=_either(text, b"prefix_cache_hits_total"),
        asleep=_asleep(text),
        cache_config=_cache_config(text),
        engines=_engines(text) if max(len(running), len(prompt)) > 1 else _ONE_ENGINE,
    )


_PULSE = (
    b"vllm:prompt_tokens_total",
    b"vllm:generation_tokens_total",
    b"vllm:iteration_tokens_total_count",
    b"vllm:kv_cache_usage_perc",
    b"vllm:num_preemptions_total",
)


def _engines(text: bytes) -> Mapping[str, EngineCounters]:
    """Return each engine's own numbers; a service of one engine has none apart.

    With several API servers, as vLLM has them by default, the gauges of an engine are not there
    before it has worked, and its counters are (multiprocess_mode "mostrecent", RUN 0.32).
    """
    running = _by_engine(text, b"vllm:num_requests_running")
    waiting = _by_engine(text, b"vllm:num_requests_waiting")
    pulses = [_by_engine(text, name) for name in _PULSE]
    labels = dict.fromkeys(label for counted in (running, *pulses) for label in counted)
    if len(labels) < 2:
        return _ONE_ENGINE
    return MappingProxyType(
        {
            label: EngineCounters(
                int(running.get(label, 0.0)),
                int(waiting.get(label, 0.0)),
                tuple(pulse.get(label, 0.0) for pulse in pulses),
            )
            for label in labels
        }
    )


def _by_engine(text: bytes, name: bytes) -> Mapping[str, float]:
    """Return the sum of a metric's samples for each value of the label "engine"."""
    found: dict[str, float] = {}
    for sample in _samples(text, name):
        labels, _, rest = sample.rpartition(b"}")
        label = labels.partition(b'engine="')[2].partition(b'"')[0]
        try:
            value = float(rest.split(None, 1)[0])
        except (IndexError, ValueError):
            continue
        if label.isdigit() and len(label) <= ENGINE_DIGITS and math.isfinite(value):
            key = label.decode()
            found[key] = found.get(key, 0.0) + value
    return found


def _either(text: bytes, name: bytes) -> float | None:
    return _sum(_values(text, b"vllm:" + name) or _values(text, b"vllm:gpu_" + name))


def _sum(values: list[float]) -> float | None:
    return math.fsum(values) if values else None


def _samples(text: bytes, name: bytes) -> Iterator[bytes]:
    """Yield what follows `name` on each line that is a sample of exactly this name."""
    at_line_start = b"\n" + name
    start = 0 if text.startswith(name) else text.find(at_line_start) + 1 or -1
    for _ in range(MOST_SAMPLES):
        if start == -1:
            return
        start += len(name)
        if text[start : start + 1] in (b"{", b" ", b"\t"):
            end = text.find(b"\n", start)
            yield text[start:] if end == -1 else text[start:end]
        start = text.find(at_line_start, start) + 1 or -1


def _values(text: bytes, name: bytes) -> list[float]:
    found = []
    for sample in _samples(text, name):
        parts = sample[-LONGEST_VALUE:].rpartition(b"}")[2].split(None, 1)
        try:
            value = float(parts[0])
        except (IndexError, ValueError):
            continue
        if 0.0 <= value < LARGEST:
            found.append(value)
    return found


def _asleep(text: bytes) -> bool:
    """Tell whether an operator put the engine to sleep (0.11.2 and later): it gives no tokens."""
    awake = [
        sample.endswith((b" 1.0", b" 1"))
        for sample in _samples(text, b"vllm:engine_sleep_state")
        if b'sleep_state="awake"' in sample
    ]
    return bool(awake) and not any(awake)


def _cache_config(text: bytes) -> Mapping[str, str]:
    for sample in _samples(text, b"vllm:cache_config_info"):
        labels = dict(_labels(sample[:LONGEST_LABELS].decode("utf-8", "replace")))
        return MappingProxyType(
            {key: plain_name(_ESCAPE.sub(_unescape, raw)) for key, raw in labels.items()}
        )
    return _NO_LABELS


def _labels(sample: str) -> Iterator[tuple[str, str]]:
    """Yield names and values from the left, each character looked at once; ends at what is none."""
    start = 0
    for _ in range(MOST_LABELS):
        found = _LABEL.match(sample, start)
        if found is None:
            return
        start = found.end()
        yield found[1], found[2]


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
