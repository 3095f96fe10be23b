# SPDX-License-Identifier: Apache-2.0
"""Measures a live service load by load, by vLLM's own benchmark where the engine has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from agent.core.bench.measure import Load, Point, from_vllm_json
from agent.core.engine.install import Engine
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.host.vllm.access import access_of
from agent.host.vllm.api import service_url
from agent.host.vllm.bench import BenchFailedError, has_bench, run_bench
from agent.host.vllm.load_client import measure

DECODE_INPUT_TOKENS = 32
"""Prompts for decode speed are short, so that prefill does not count."""

REQUESTS_A_BATCH = 3
DEADLINE_SECONDS = 600.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """The service that is measured; `max_model_len` bounds the prompts, None when not known."""

    settings: Settings
    served_name: str
    tokenizer: str
    hf_home: str
    python: str
    engine: Engine
    max_model_len: int | None = None


def loads(
    batches: Sequence[int], contexts: Sequence[int], output_tokens: int, target: Target
) -> Iterator[Load]:
    """Give the loads: decode at each batch, then the first token after each context."""
    for batch in batches:
        requests = batch * REQUESTS_A_BATCH if batch > 1 else REQUESTS_A_BATCH
        yield Load(batch, DECODE_INPUT_TOKENS, output_tokens, requests)
    longest = target.max_model_len
    for context in contexts:
        if longest is None or context + 2 <= longest:
            yield Load(1, context, 1, REQUESTS_A_BATCH)


def run(target: Target, asked: Sequence[Load], progress: Progress) -> list[Point]:
    """Return a point for each load; what vLLM's benchmark cannot do is measured without it."""
    points = []
    settings = target.settings
    own = has_bench(target.engine) and settings.uds is None and not settings.speaks_tls
    for number, load in enumerate(asked, 1):
        what = f"{load.batch} at once, {load.input_tokens} tokens in, {load.output_tokens} out"
        progress(f"{number}/{len(asked)}: {what}")
        if own:
            try:
                points.append(_by_vllm(target, load))
                continue
            except BenchFailedError as error:
                progress(f"without vllm bench: {error}")
                own = False
        points.append(measure(target.settings, target.served_name, load, DEADLINE_SECONDS))
    return points


def _by_vllm(target: Target, load: Load) -> Point:
    document = run_bench(
        target.python,
        target.engine,
        service_url(target.settings.host, target.settings.port),
        target.served_name,
        target.tokenizer,
        target.hf_home,
        load,
        DEADLINE_SECONDS,
        access_of(target.settings).key,
    )
    try:
        return from_vllm_json(load, document)
    except (KeyError, TypeError, ValueError) as error:
        raise BenchFailedError(f"its result lacks {error}") from error
