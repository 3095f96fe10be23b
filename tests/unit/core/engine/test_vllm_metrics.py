# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from agent.core.engine.metrics import scan

V1 = b"""\
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 9231.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama"} 3.0
vllm:num_requests_running{engine="1",model_name="llama"} 1.0
vllm:num_requests_waiting{engine="0",model_name="llama"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="llama",reason="capacity"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="llama"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="llama"} 0.75
vllm:prefix_cache_queries_total{engine="0",model_name="llama"} 100.0
vllm:prefix_cache_queries_created{engine="0",model_name="llama"} 1.7e+09
vllm:prefix_cache_hits_total{engine="0",model_name="llama"} 64.0
vllm:num_preemptions_total{engine="0",model_name="llama"} 0.0
vllm:prompt_tokens_total{engine="0",model_name="llama"} 1000.0
vllm:prompt_tokens_created{engine="0",model_name="llama"} 1.7e+09
vllm:generation_tokens_total{engine="0",model_name="llama"} 500.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="llama"} 4.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="llama"} 6.0
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="llama"} 40.0
vllm:iteration_tokens_total_count{engine="0",model_name="llama"} 77.0
vllm:iteration_tokens_total_sum{engine="0",model_name="llama"} 1500.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="llama"} 8.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="llama"} 8.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="llama"} 2.5
vllm:time_to_first_token_seconds_count{engine="1",model_name="llama"} 2.0
vllm:time_to_first_token_seconds_sum{engine="1",model_name="llama"} 0.5
vllm:cache_config_info{block_size="16",cache_dtype="fp8",engine="0",sliding_window="None"} 1.0
"""


def test_the_engines_of_one_server_are_summed_and_the_fullest_cache_counts() -> None:
    counters = scan(V1)
    assert counters is not None
    assert (counters.running, counters.waiting) == (4, 2)
    assert counters.kv_cache_usage == 0.75
    assert counters.requests_success == 10
    assert (counters.prefix_cache_queries, counters.prefix_cache_hits) == (100, 64)


def test_the_wait_for_first_tokens_is_that_of_all_engines_and_none_where_it_is_not_told() -> None:
    counters = scan(V1)
    assert counters is not None
    assert (counters.first_tokens, counters.first_token_seconds) == (10.0, 3.0)
    without = scan(b"vllm:num_requests_running 1.0\n")
    assert without is not None
    assert (without.first_tokens, without.first_token_seconds) == (None, None)


def test_work_is_tokens_in_and_out_and_steps_not_the_time_of_creation() -> None:
    counters = scan(V1)
    assert counters is not None
    assert counters.work == 1000 + 500 + 77


def test_the_cache_configuration_is_what_the_info_metric_is_labelled_with() -> None:
    counters = scan(V1)
    assert counters is not None
    assert dict(counters.cache_config) == {
        "block_size": "16",
        "cache_dtype": "fp8",
        "engine": "0",
        "sliding_window": "None",
    }


def test_the_names_of_vllm_0_6_are_read_too() -> None:
    counters = scan(
        b'vllm:num_requests_running{model_name="m"} 1.0\n'
        b'vllm:gpu_cache_usage_perc{model_name="m"} 0.5\n'
        b'vllm:gpu_prefix_cache_queries_total{model_name="m"} 8.0\n'
    )
    assert counters is not None
    assert counters.kv_cache_usage == 0.5
    assert counters.prefix_cache_queries == 8
    assert counters.prefix_cache_hits is None


def test_a_release_with_both_names_of_the_cache_usage_counts_it_once() -> None:
    counters = scan(
        b"vllm:num_requests_running 1.0\n"
        b"vllm:gpu_cache_usage_perc 0.5\nvllm:kv_cache_usage_perc 0.5\n"
        b"vllm:gpu_prefix_cache_hits_total 3.0\nvllm:prefix_cache_hits_total 3.0"
    )
    assert counters is not None
    assert counters.kv_cache_usage == 0.5
    assert counters.prefix_cache_hits == 3


def test_the_text_of_another_exporter_is_not_read_as_an_idle_server() -> None:
    assert scan(b"node_load1 0.5\n") is None
    assert scan(b"") is None


NAMES = st.sampled_from(
    [
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:num_requests_waiting_by_reason",
        "vllm:prompt_tokens_total",
        "vllm:prompt_tokens_total_x",
        "vllm:request_prompt_tokens",
        "x_vllm:prompt_tokens_total",
        "vllm:kv_cache_usage_perc",
        "vllm:prefix_cache_hits_total",
    ]
)
LABEL_TEXT = st.text(st.sampled_from('ab }{"\\,=# \n'), max_size=8) | st.just(
    "\nvllm:prompt_tokens_total 7"
)
VALUES = st.sampled_from(["0", "1.0", "2e+03", "+Inf", "NaN", "17"])
TIMES = st.sampled_from(["", " 1795234598000"])


@st.composite
def sample_lines(draw: st.DrawFn) -> str:
    labels = draw(st.dictionaries(st.sampled_from(["engine", "model_name"]), LABEL_TEXT))
    escaped = ",".join(
        '{}="{}"'.format(key, text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\""))
        for key, text in labels.items()
    )
    braces = f"{{{escaped}}}" if labels else ""
    return f"{draw(NAMES)}{braces} {draw(VALUES)}{draw(TIMES)}\n"


@given(st.lists(sample_lines(), max_size=12))
def test_the_scan_finds_what_a_full_parser_finds(lines: list[str]) -> None:
    text = "".join(lines)
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            if math.isfinite(sample.value):
                found.setdefault(sample.name, []).append(sample.value)
    counters = scan(text.encode())
    running = found.get("vllm:num_requests_running", [])
    prompt = found.get("vllm:prompt_tokens_total", [])
    if counters is None:
        assert not running
        assert not prompt
        return
    assert counters.running == sum(running)
    assert counters.waiting == sum(found.get("vllm:num_requests_waiting", []))
    assert counters.prompt_tokens == sum(prompt)
    assert counters.kv_cache_usage == max(found.get("vllm:kv_cache_usage_perc", []), default=None)
    hits = found.get("vllm:prefix_cache_hits_total")
    assert counters.prefix_cache_hits == (sum(hits) if hits else None)


@given(st.binary(max_size=200))
def test_any_bytes_after_the_names_are_survived(junk: bytes) -> None:
    counters = scan(b"vllm:num_requests_running 1\nvllm:cache_config_info{" + junk + b"\n" + junk)
    assert counters is None or counters.running >= 0
