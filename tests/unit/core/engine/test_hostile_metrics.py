# SPDX-License-Identifier: Apache-2.0
"""Whatever sits on the engine's port may answer /metrics: reading it is linear and never fails."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.engine.metrics import Counters, scan
from agent.host.vllm.api import METRICS_BYTES
from tests.given.yardstick import yardsticks

HEAD = b"vllm:num_requests_running 1.0\n"
NAMES = (
    b"vllm:num_requests_running",
    b"vllm:prompt_tokens_total",
    b"vllm:cache_config_info",
    b"vllm:engine_sleep_state",
)
PIECES = (
    *(
        b"a",
        b'a="',
        b'a="b",',
        b"\\",
        b'\\"',
        b'"',
        b"{",
        b"}",
        b"} ",
        b" ",
        b"\t",
        b"\n",
        b"9",
        b"=",
    ),
    *(b"\n" + name for name in NAMES),
    *(b"\n" + name + b"{" for name in NAMES),
    *(b"\n" + name + b" 1" for name in NAMES),
    *NAMES,
)


def filled(start: bytes, piece: bytes) -> bytes:
    return (start + piece * (METRICS_BYTES // len(piece) + 1))[:METRICS_BYTES]


@pytest.mark.parametrize("start", [b"", *(name + b"{" for name in NAMES)], ids=lambda s: repr(s))
def test_no_body_takes_more_than_its_share_of_the_processor(start: bytes) -> None:
    for piece in PIECES:
        body = filled(HEAD + start, piece)
        assert yardsticks(partial(scan, body), 60) <= 60, piece


@pytest.mark.parametrize(
    "number",
    ["1e308", "-1", "nan", "inf", "-inf", "9" * 400, "1e19", "0x10", "1_0_0e400", "", "\x00"],
)
def test_a_number_that_no_counter_can_have_is_absent(number: str) -> None:
    lines = [f"vllm:prompt_tokens_total {number}", f'vllm:prompt_tokens_total{{a="b"}} {number}']
    lines += [f"vllm:num_requests_waiting {number}"] * 2 + ["vllm:num_requests_running 2"]
    seen = scan("\n".join(lines).encode())
    assert seen == Counters(running=2)


def test_labels_end_at_what_is_no_label_and_are_not_searched_for_further_on() -> None:
    seen = scan(HEAD + b'vllm:cache_config_info{block_size="16",x y="1",num_gpu_blocks="5"} 1.0\n')
    assert seen is not None
    assert dict(seen.cache_config) == {"block_size": "16"}


def test_a_million_engines_are_counted_as_far_as_a_host_can_have_them() -> None:
    seen = scan(b'vllm:num_requests_running{engine="0"} 1\n' * 100_000)
    assert seen is not None
    assert seen.running == 4096


@given(
    st.lists(
        st.one_of(st.sampled_from(PIECES), st.binary(max_size=20), st.just(HEAD)), max_size=60
    ).map(b"".join)
)
def test_whatever_the_text_is_scan_gives_finite_counters_or_none(body: bytes) -> None:
    seen = scan(body)
    assert seen is None or (0 <= seen.running < 2**80 and 0 <= seen.work < 2.0**80)
