# SPDX-License-Identifier: Apache-2.0
"""`llmagent bench`: what is measured, what it is compared with, what an ill server does to it."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.bench.measure import Load, Point, Standing, compare, from_vllm_json, knee
from agent.core.engine.install import Engine
from agent.core.settings.profile import Band, Origin, Quantity
from agent.core.settings.service import Settings
from agent.host.data import benchmarks as bench_files
from agent.host.vllm.bench import BenchFailedError, run_bench
from agent.host.vllm.load_client import measure
from agent.tasks import bench
from tests.given.fake_http import Reply, says, serving, unused_port

ONE, EIGHT = Load(1, 32, 16, 3), Load(8, 32, 16, 24)
LONG = Load(1, 4096, 1, 3)


def point(load: Load, rate: float, ttft: float | None = 0.2, failed: int = 0) -> Point:
    return Point(load, load.requests - failed, failed, 1.0, rate, ttft, ttft, 0.01)


def target(url: str, python: str = "/nowhere/python", version: str | None = None) -> bench.Target:
    engine = Engine(version, True, None)
    return bench.Target(at(url), "m", "m", "/tmp", python, engine, 8192)


def at(url: str) -> Settings:
    return Settings("vllm", "m", port=urlsplit(url).port or 80)


def test_loads_are_decode_at_each_batch_and_first_tokens_that_fit() -> None:
    asked = list(bench.loads((1, 8), (4096, 32768), 16, target("http://x")))
    assert [(load.batch, load.input_tokens) for load in asked] == [(1, 32), (8, 32), (1, 4096)]


def test_a_value_is_compared_with_the_band_of_its_own_batch() -> None:
    bands = [
        Band(Quantity.DECODE, 85, 125, Origin.COMPUTED, 1),
        Band(Quantity.DECODE, 700, 900, Origin.PUBLISHED, 8),
        Band(Quantity.TTFT, 0.1, 0.4, Origin.PUBLISHED, context_tokens=4096),
        Band(Quantity.DECODE, 195, 195, Origin.PUBLISHED, 1),
    ]
    found = compare([point(ONE, 60), point(EIGHT, 800), point(LONG, 1, 0.9)], bands, [])
    assert [(c.quantity, c.batch, c.standing) for c in found] == [
        (Quantity.DECODE, 1, Standing.WORSE),
        (Quantity.DECODE, 8, Standing.WITHIN),
        (Quantity.TTFT, 1, Standing.WORSE),
    ]


def test_the_hosts_own_past_is_a_band_of_ten_percent() -> None:
    before = [point(ONE, 100, 0.2)]
    worse = compare([point(ONE, 80, 0.2)], [], before)
    assert [c.standing for c in worse] == [Standing.WORSE, Standing.WITHIN]
    assert {c.against for c in worse} == {"this host's baseline"}
    assert compare([point(EIGHT, 1)], [], before) == ()


def test_a_load_with_failed_requests_is_not_compared() -> None:
    band = Band(Quantity.DECODE, 1, 2, Origin.PUBLISHED, 1)
    assert compare([point(ONE, 1.5, failed=1)], [band], []) == ()


def test_the_knee_is_where_more_gains_little() -> None:
    published = [(32, 1.45), (128, 1.62), (256, 1.63), (512, 1.60)]
    assert knee(published) == 128
    assert knee([]) is None
    assert knee([(1, 10), (2, 20), (4, 40)]) == 4


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=12))
def test_the_knee_is_one_of_the_settings_and_loses_little(rates: list[float]) -> None:
    points = [(2**i, rate) for i, rate in enumerate(rates)]
    assert knee(points) in dict(points)


def test_vllms_own_result_file_is_read() -> None:
    document = {
        "completed": 3,
        "failed": 0,
        "duration": 2.0,
        "output_throughput": 24.0,
        "median_ttft_ms": 210.5,
        "p99_ttft_ms": 300,
        "median_itl_ms": 8.0,
    }
    read = from_vllm_json(ONE, document)
    assert (read.output_tokens_per_second, read.ttft_median_seconds) == (24.0, 0.2105)
    assert read.worked
    del document["failed"]  # before 0.11.2
    document["completed"] = 1
    assert from_vllm_json(ONE, document).failed == 2


def streams(tokens: int, *, usage: bool = True) -> Reply:
    def reply(handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        body = json.loads(asked)
        assert body["stream"]
        assert body["max_tokens"] == tokens
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for _ in range(tokens):
            handler.wfile.write(b'data: {"choices": [{"text": "a"}]}\n\n')
        if usage:
            end = json.dumps({"choices": [], "usage": {"completion_tokens": tokens}})
            handler.wfile.write(f"data: {end}\n\n".encode())
        handler.wfile.write(b"data: [DONE]\n\n")
        handler.close_connection = True

    return reply


@pytest.mark.parametrize("usage", [True, False])
def test_tokens_and_first_tokens_are_counted_from_the_stream(usage: bool) -> None:
    with serving() as server:
        server.replies["POST /v1/completions"] = streams(16, usage=usage)
        got = measure(at(server.url), "m", EIGHT, 30)
        prompts = [tuple(json.loads(body)["prompt"]) for _, body in server.asked]
    assert (got.completed, got.failed) == (24, 0)
    assert got.output_tokens_per_second == pytest.approx(24 * 16 / got.seconds)
    assert got.ttft_median_seconds is not None
    assert len(set(prompts)) == 24, "no prompt may be answered by the prefix cache"


@pytest.mark.parametrize(
    "reply",
    [
        says('{"error": "no"}', 500),
        says("data: not json\n\n", kind="text/event-stream"),
        says("", kind="text/event-stream"),
    ],
)
def test_an_ill_server_gives_failed_requests_and_no_rate(reply: Reply) -> None:
    with serving() as server:
        server.replies["POST /v1/completions"] = reply
        got = measure(at(server.url), "m", ONE, 10)
    assert (got.completed, got.failed) == (0, 3)
    assert got.output_tokens_per_second == 0
    assert not got.worked


def test_a_server_that_is_away_gives_failed_requests() -> None:
    got = measure(Settings("vllm", "m", port=unused_port()), "m", ONE, 5)
    assert got.failed == 3


def a_python_that(tmp_path: Path, script: str) -> str:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


RESULT = '{"completed": 3, "failed": 0, "duration": 1.0, "output_throughput": 48.0}'
WRITES = f"""for a; do case $a in --result-dir=*) d=${{a#*=}};; esac; done
echo '{RESULT}' >"$d/result.json" """


def test_vllms_own_benchmark_is_run_where_the_engine_has_it(tmp_path: Path) -> None:
    told: list[str] = []
    python = a_python_that(tmp_path, WRITES)
    points = bench.run(target("http://x", python, "0.32.0"), [ONE], told.append)
    assert points[0].output_tokens_per_second == 48
    assert told == ["1/1: 1 at once, 32 tokens in, 16 out"]


@pytest.mark.parametrize("script", ["echo 'No module named vllm' >&2; exit 1", "true"])
def test_where_it_fails_the_agent_measures_itself_and_says_so(tmp_path: Path, script: str) -> None:
    told: list[str] = []
    with serving() as server:
        server.replies["POST /v1/completions"] = streams(16)
        it = target(server.url, a_python_that(tmp_path, script), "0.32.0")
        points = bench.run(it, [ONE, ONE], told.append)
    assert [p.completed for p in points] == [3, 3]
    assert sum("without vllm bench" in line for line in told) == 1


def test_an_engine_of_before_0_8_is_measured_by_the_agent() -> None:
    with serving() as server:
        server.replies["POST /v1/completions"] = streams(16)
        points = bench.run(target(server.url, version="0.6.3"), [ONE], print)
    assert points[0].worked


def test_a_benchmark_that_hangs_is_ended(tmp_path: Path) -> None:
    python = a_python_that(tmp_path, "exec sleep 60")
    with pytest.raises(BenchFailedError, match="not done after"):
        run_bench(python, Engine("0.32.0", True, None), "http://x", "m", "m", "/tmp", ONE, 0.3)


def test_the_first_result_of_a_kind_is_the_baseline(tmp_path: Path) -> None:
    key = {"model": "m", "max_num_seqs": 32}
    bench_files.save(tmp_path, "vllm-1", key, [point(ONE, 100)])
    bench_files.save(tmp_path, "vllm-2", key, [point(ONE, 90)])
    bench_files.save(tmp_path, "vllm-3", {**key, "max_num_seqs": 64}, [point(ONE, 5)])
    assert bench_files.baseline(tmp_path, key) == (point(ONE, 100),)
    (tmp_path / "vllm-1.json").write_text("{")
    assert bench_files.baseline(tmp_path, key) == (point(ONE, 90),)
    assert bench_files.baseline(tmp_path / "nothing", key) == ()
