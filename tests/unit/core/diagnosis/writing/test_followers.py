# SPDX-License-Identifier: Apache-2.0
"""In a file without times, a bare line behind one that may quote a client is the client's."""

from __future__ import annotations

import pytest

from agent.core.diagnosis.lines import clean_lines
from agent.core.failures.classes import FailureClass
from tests.given.engine_logs import SERVING, SIGNATURES, read
from tests.given.hostile.words import CHANNELS

F = FailureClass
START = SERVING.strip("\n").split("\n")
DEATH = (
    "(APIServer pid=1) ERROR 11-28 16:50:00 [core_client.py:612] Engine core proc EngineCore_DP0 "
    "died unexpectedly, shutting down client."
)
NATIVE = SIGNATURES.writers.native if SIGNATURES.writers is not None else None


def is_a_librarys(example: str) -> bool:
    """Tell whether a line begins as a library's own, with its stamp (NCCL) or without."""
    return NATIVE is not None and any(NATIVE.match(line.text) for line in clean_lines(example))


WORDS = [
    example
    for signature in SIGNATURES.signatures
    for example in signature.examples
    if not is_a_librarys(example)
][::11]


def concluded(lines: list[str]) -> FailureClass | None:
    return read([*START, *lines, DEATH]).diagnosis().failure


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_second_line_of_a_clients_words_names_no_cause(channel: str) -> None:
    """Only what begins as a library's own print is read behind a record that is whole."""
    steered = []
    for words in WORDS:
        lines = "\n".join(CHANNELS[channel](f"hello\n{words}")).split("\n")
        if not words.startswith(OWN_BEGINNINGS) and concluded(lines) is not F.ENGINE_DEAD:
            steered.append(words)
    assert steered == []


OWN_BEGINNINGS = ("Traceback", "  File", "Process ", "Exception in thread", "-- Boot ")


@pytest.mark.parametrize(
    "before",
    [
        '(APIServer pid=1) INFO:     10.0.0.9:5 - "POST /v1/completions HTTP/1.1" 200 OK',
        "(APIServer pid=1) INFO 11-28 16:34:02 [loggers.py:259] Engine 000: Avg prompt throughput: "
        "1.0 tokens/s, Avg generation throughput: 9.0 tokens/s, Running: 1 reqs, Waiting: 0 reqs, "
        "GPU KV cache usage: 1.0%, Prefix cache hit rate: 0.0%",
        "(EngineCore pid=42) ERROR 11-28 16:34:02 [core.py:1330] EngineCore encountered a fatal "
        "error.",
    ],
)
@pytest.mark.parametrize(
    ("said", "failure"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", F.OOM_RUNTIME),
        ("NCCL error: unhandled system error", F.NCCL_ERROR),
        ("terminate called after throwing an instance of 'odd'", F.NATIVE_CRASH),
    ],
)
def test_a_bare_cause_behind_what_quotes_nobody_is_read(
    before: str, said: str, failure: FailureClass
) -> None:
    assert concluded([before, said]) is failure


def test_what_a_library_prints_behind_a_clients_record_is_read() -> None:
    record = CHANNELS["media"]("odd")

    assert concluded([*record, "!!!!!!! Segfault encountered !!!!!!!"]) is F.NATIVE_CRASH
