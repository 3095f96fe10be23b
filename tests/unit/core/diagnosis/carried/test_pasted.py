# SPDX-License-Identifier: Apache-2.0
"""A log that went through a web page, a chat or an editor has the answer of the log itself."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.diagnosis.carried.pasted import plain
from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import FailureClass as F
from tests.given.engine_logs import SIGNATURES, died_in, failed

LOGS = {
    F.ENGINE_BUG: died_in(
        "vllm/v1/worker/gpu_worker.py:__init__",
        "vllm/model_executor/models/odd_eagle.py:__call__",
        exception="AttributeError: 'NoneType' object has no attribute 'odd_size'",
    ),
    F.CACHE_NOT_WRITABLE: failed("PermissionError: [Errno 13] Permission denied: '/.odd_cache'"),
    F.WEIGHTS_MISMATCH: failed("KeyError: 'layers.3.odd_proj.weight_scale'"),
}


def _typeset(line: str) -> str:
    line = re.sub(r'"([^"]*)"', "\u201c\\1\u201d", line)
    return re.sub(r"'([^']*)'", "\u2018\\1\u2019", line)


PAGES: dict[str, Callable[[str], str]] = {
    "typeset quotation marks": _typeset,
    "HTML's entities": html.escape,
    "HTML's blanks": lambda line: html.escape(line).replace("  ", "&nbsp;&nbsp;"),
    "hard blanks": lambda line: line.replace("  ", "\u00a0\u00a0"),
    "Markdown's escapes": lambda line: line.replace("_", "\\_"),
    "Markdown's bold": lambda line: re.sub(r"__(\w+)__", r"**\1**", line),
    "bold type": lambda line: re.sub(r"(\w+Error: .+)", r"**\1**", line),
    "dates cut out": lambda line: re.sub(r"(ERROR|INFO) [\d-]{5} [\d:]{8} \[", r"\1 [", line),
    "a byte-order mark": lambda line: f"\ufeff{line}",
}


def read(lines: Iterable[str]) -> Diagnosis:
    reader = ServicesReader(SIGNATURES)
    for line in lines:
        reader.feed(line)
    return reader.diagnosis()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("failure", LOGS)
def test_what_a_page_makes_of_marks_changes_no_answer(page: str, failure: F) -> None:
    lines = LOGS[failure].strip("\n").split("\n")
    log, pasted = read(lines), read(map(PAGES[page], lines))

    assert log.failure is failure
    assert (pasted.failure, pasted.place) == (log.failure, log.place)


@given(
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&*\\"))
)
def test_a_line_in_plain_marks_is_left_as_it_is(line: str) -> None:
    assert plain(line) == line


@given(st.text())
def test_no_line_becomes_longer_or_two(line: str) -> None:
    made = plain(line)
    assert len(made) <= len(line)
    assert len(made.splitlines()) <= max(1, len(line.splitlines()))


NOTEBOOK = (
    "File ~/odd/lib/python3.12/site-packages/vllm/v1/odd.py:112, in Odd.step(self, *args)",
    "File /opt/odd/dist-packages/vllm/v1/odd.py:112, in step(odd)",
    "/opt/odd/dist-packages/vllm/v1/odd.py in step(self, odd)",
    "[/opt/odd/dist-packages/vllm/v1/odd.py](https://localhost:8080/#) in step(self, odd)",
)


@pytest.mark.parametrize("frame", NOTEBOOK)
def test_a_frame_that_a_notebook_shows_tells_the_place(frame: str) -> None:
    found = read(
        [
            "IndexError                                Traceback (most recent call last)",
            frame,
            "    111 def step(self):",
            "--> 112     return self.odd[0]",
            "",
            "IndexError: list index out of range",
        ]
    )
    assert (found.failure, found.place) == (F.ENGINE_BUG, "IndexError@vllm/v1/odd.py:step")
