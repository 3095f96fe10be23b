# SPDX-License-Identifier: Apache-2.0
"""A client that asks for completions, several at once, and times the first and every token.

For engines without `vllm bench serve`; prompts are token ids, so that no tokenizer is needed.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import field
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from agent.core.bench.measure import Load, Point
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.host.vllm.access import access_of
from agent.host.vllm.api import service_url
from agent.host.vllm.bounded_http import Allowance, bounded_pools

FIRST_ID = 1000
IDS = 20_000
"""Prompts are made of these token ids, which every usual vocabulary has."""

NOT_OF_THAT_FORM = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What an answer that is JSON of another form, of another depth or none at all brings about."""

MOST_BYTES = 1 << 30
"""That a thread of a measurement receives; a token comes in about 300 bytes."""


@dataclass(slots=True)
class _Answer:
    tokens: int = 0
    first_seconds: float | None = None
    gaps: list[float] = field(default_factory=list)
    failed: bool = False


def measure(settings: Settings, model: str, load: Load, deadline_seconds: float) -> Point:
    """Send the load and return what came of it; what fails or is late counts as failed."""
    end = time.monotonic() + deadline_seconds
    url, access = service_url(settings.host, settings.port), access_of(settings)
    headers = {"Content-Type": "application/json"}
    if access.key is not None:
        headers["Authorization"] = f"Bearer {access.key}"
    answers = [_Answer(failed=True) for _ in range(load.requests)]
    numbers = iter(range(load.requests))
    lock = threading.Lock()

    def work() -> None:
        allowance = Allowance()
        allowance.start(max(0.1, end - time.monotonic()), MOST_BYTES)
        with bounded_pools(url, allowance, access)() as pool:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None or time.monotonic() >= end:
                    return
                answers[number] = _ask(pool, _body(model, load, number), headers, end)

    started = time.monotonic()
    threads = [threading.Thread(target=work, daemon=True) for _ in range(load.batch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()) + 1.0)
    seconds = time.monotonic() - started
    return _point(load, answers, seconds)


def _body(model: str, load: Load, number: int) -> dict[str, Any]:
    # Every prompt begins differently, so that no prefix cache answers in the model's place.
    prompt = [FIRST_ID + (number * 7919 + i * 31) % IDS for i in range(load.input_tokens)]
    return {
        "model": model,
        "prompt": prompt,
        "max_tokens": load.output_tokens,
        "temperature": 0.0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _ask(pool: Any, body: dict[str, Any], headers: dict[str, str], end: float) -> _Answer:
    answer = _Answer()
    sent = last = time.monotonic()
    left = max(0.1, end - sent)
    try:
        with pool.urlopen(
            "POST",
            "/v1/completions",
            json.dumps(body).encode(),
            headers,
            retries=False,
            redirect=False,
            timeout=Timeout(connect=5.0, read=left),
            preload_content=False,
        ) as response:
            for line in response if response.status == HTTPStatus.OK else ():
                now = time.monotonic()
                if now >= end:
                    answer.failed = True
                    break
                if _take(answer, line.strip(), now - sent, now - last):
                    last = now
    except (HTTPError, HTTPException, OSError, *NOT_OF_THAT_FORM):
        answer.failed = True
    if answer.tokens == 0:
        answer.failed = True
    return answer


def _take(answer: _Answer, line: bytes, since_sent: float, since_last: float) -> bool:
    """Take one line of the stream; True when it carried text."""
    if not line.startswith(b"data: ") or line == b"data: [DONE]":
        return False
    chunk = json.loads(line[6:])
    usage = chunk.get("usage")
    if usage:
        answer.tokens = int(usage["completion_tokens"])
    if not chunk.get("choices"):
        return False
    if answer.first_seconds is None:
        answer.first_seconds = since_sent
    else:
        answer.gaps.append(since_last)
    if not usage:
        answer.tokens += 1
    return True


def _point(load: Load, answers: Sequence[_Answer], seconds: float) -> Point:
    good = [answer for answer in answers if not answer.failed]
    firsts = sorted(a.first_seconds for a in good if a.first_seconds is not None)
    gaps = [gap for answer in good for gap in answer.gaps]
    return Point(
        load=load,
        completed=len(good),
        failed=len(answers) - len(good),
        seconds=seconds,
        output_tokens_per_second=sum(a.tokens for a in good) / seconds if seconds else 0.0,
        ttft_median_seconds=statistics.median(firsts) if firsts else None,
        ttft_p99_seconds=firsts[min(len(firsts) - 1, int(0.99 * len(firsts)))] if firsts else None,
        itl_median_seconds=statistics.median(gaps) if gaps else None,
    )
