# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.engine.answers import Completion, ServedModel
from agent.core.engine.metrics import Counters
from agent.host.vllm.api import HealthStatus, VllmApi, service_url
from agent.host.vllm.failure import ApiFailure, FailureKind
from tests.given.fake_http import FakeServer, dribbles, raw, redirects, says, serving, unused_port

COMPLETION = {
    "id": "cmpl-1",
    "choices": [{"index": 0, "text": " blue", "finish_reason": "length"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


@pytest.fixture
def api(server: FakeServer) -> VllmApi:
    return VllmApi(server.url, connect_seconds=0.2, read_seconds=0.3)


def kind(answer: object) -> FailureKind:
    assert isinstance(answer, ApiFailure), answer
    return answer.kind


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, HealthStatus.HEALTHY),
        (503, HealthStatus.ENGINE_DEAD),
        (500, HealthStatus.ENGINE_DEAD),
        (404, HealthStatus.STRANGE),
    ],
)
def test_the_status_of_health_is_what_it_means_to_vllm(
    server: FakeServer, api: VllmApi, status: int, meaning: HealthStatus
) -> None:
    server.replies["GET /health"] = says("", status)
    assert api.health() is meaning


def test_a_port_where_nothing_listens_is_refused_not_silent() -> None:
    api = VllmApi(f"http://127.0.0.1:{unused_port()}", connect_seconds=0.2, read_seconds=0.2)
    assert api.health() is HealthStatus.REFUSED
    assert kind(api.counters()) is FailureKind.REFUSED


def test_a_bound_port_that_does_not_answer_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        api = VllmApi(url, connect_seconds=0.1, read_seconds=0.1)
        assert api.health() is HealthStatus.SILENT
        assert kind(api.complete("m", "x", max_tokens=1, timeout=0.2)) is FailureKind.TIMEOUT


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"v"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nv\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "headers", "chunks", "continues"],
)
def test_a_server_that_dribbles_does_not_hold_a_call_beyond_its_deadline(
    server: FakeServer, api: VllmApi, start: bytes, drop: bytes
) -> None:
    server.replies["GET /metrics"] = dribbles(server, start, drop)
    assert kind(api.counters()) is FailureKind.TIMEOUT


def test_the_counters_come_from_the_metrics_text(server: FakeServer, api: VllmApi) -> None:
    server.replies["GET /metrics"] = says(
        'vllm:num_requests_running{engine="0"} 2.0\nvllm:prompt_tokens_total{engine="0"} 7.0\n',
        kind="text/plain",
    )
    assert api.counters() == Counters(running=2, prompt_tokens=7.0)


def test_the_metrics_of_a_stranger_are_garbage(server: FakeServer, api: VllmApi) -> None:
    server.replies["GET /metrics"] = says("node_load1 0.5\n", kind="text/plain")
    assert kind(api.counters()) is FailureKind.GARBAGE


def test_an_endless_body_is_cut_off(server: FakeServer, api: VllmApi) -> None:
    start = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    server.replies["GET /v1/models"] = dribbles(server, start, b"x" * (1 << 20), gap=0)
    assert kind(api.models()) is FailureKind.GARBAGE


def test_the_models_carry_the_effective_context(server: FakeServer, api: VllmApi) -> None:
    entry = {"id": "llama", "object": "model", "root": "/srv/llama", "max_model_len": 4096}
    server.replies["GET /v1/models"] = says(json.dumps({"object": "list", "data": [entry]}))
    assert api.models() == (ServedModel("llama", "/srv/llama", 4096),)


def test_the_version_is_a_string(server: FakeServer, api: VllmApi) -> None:
    server.replies["GET /version"] = says('{"version":"0.32.0"}')
    assert api.version() == "0.32.0"


def test_a_completion_of_token_ids_is_greedy_and_bounded(server: FakeServer, api: VllmApi) -> None:
    server.replies["POST /v1/completions"] = says(json.dumps(COMPLETION))
    answer = api.complete("llama", (1, 2, 3), max_tokens=1, timeout=5)
    assert isinstance(answer, Completion)
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == (" blue", 5, 1)
    assert answer.finish_reason == "length"
    [(_, asked)] = server.asked
    assert json.loads(asked) == {
        "model": "llama",
        "prompt": [1, 2, 3],
        "max_tokens": 1,
        "temperature": 0,
    }


@pytest.mark.parametrize(
    ("said", "ids"),
    [([5, 9], (5, 9)), (None, ()), ([5, "9"], ()), ([True], ()), ({"5": 9}, ())],
)
def test_token_ids_are_asked_for_and_read_where_they_are_a_list_of_them(
    server: FakeServer, api: VllmApi, said: object, ids: tuple[int, ...]
) -> None:
    choice = {"text": " blue", "finish_reason": "length", "token_ids": said}
    server.replies["POST /v1/completions"] = says(json.dumps({**COMPLETION, "choices": [choice]}))
    answer = api.complete("llama", "x", max_tokens=2, timeout=5, token_ids=True)
    assert isinstance(answer, Completion)
    assert answer.token_ids == ids
    assert json.loads(server.asked[0][1])["return_token_ids"] is True


def test_an_error_body_with_status_200_is_a_failure(server: FakeServer, api: VllmApi) -> None:
    body = {"error": {"message": "EngineCore encountered an issue.", "code": 500}}
    server.replies["POST /v1/completions"] = says(json.dumps(body))
    answer = api.complete("llama", "x", max_tokens=1, timeout=5)
    assert kind(answer) is FailureKind.ENGINE_ERROR
    assert "EngineCore encountered an issue." in str(answer)


def test_an_error_status_says_the_servers_own_words(server: FakeServer, api: VllmApi) -> None:
    body = {"object": "error", "message": "The model `x` does not exist.", "code": 404}
    server.replies["POST /v1/completions"] = says(json.dumps(body), 404)
    answer = api.complete("x", "x", max_tokens=1, timeout=5)
    assert isinstance(answer, ApiFailure)
    assert answer.status == 404
    assert "The model `x` does not exist." in str(answer)


def test_a_redirect_is_not_followed(server: FakeServer, api: VllmApi) -> None:
    server.replies["GET /version"] = redirects("/elsewhere")
    assert kind(api.version()) is FailureKind.HTTP_STATUS
    assert [key for key, _ in server.asked] == ["GET /version"]


def test_a_proxy_of_the_environment_is_not_used(
    server: FakeServer, api: VllmApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("no_proxy", "")
    server.replies["GET /version"] = says('{"version":"0.9.2"}')
    assert api.version() == "0.9.2"


def test_a_call_after_a_failed_one_starts_afresh(server: FakeServer, api: VllmApi) -> None:
    server.replies["GET /version"] = raw(b"")
    assert kind(api.version()) is FailureKind.BROKEN
    server.replies["GET /version"] = says('{"version":"0.9.2"}')
    assert api.version() == "0.9.2"


@pytest.mark.parametrize("body", ["", "[]", "null", "{", '{"data": 3}', "[" * 100_000])
def test_an_answer_of_another_shape_is_garbage(server: FakeServer, api: VllmApi, body: str) -> None:
    for path in ("GET /v1/models", "GET /version", "POST /v1/completions"):
        server.replies[path] = says(body)
    assert kind(api.models()) is FailureKind.GARBAGE
    assert kind(api.version()) is FailureKind.GARBAGE
    assert kind(api.complete("m", "x", max_tokens=1, timeout=5)) is FailureKind.GARBAGE


HTTP_PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/9.9 999 \r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Location: http://[::\r\n",
        b"\r\n",
        b"zz\r\n",
        b"{}",
    ]
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(HTTP_PIECES | st.binary(max_size=12), max_size=8).map(b"".join))
def test_no_answer_whatever_its_bytes_raises(server: FakeServer, api: VllmApi, data: bytes) -> None:
    server.replies["GET /version"] = raw(data)
    server.replies["GET /health"] = raw(data)
    assert isinstance(api.version(), ApiFailure)
    assert api.health() in HealthStatus


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("", "http://127.0.0.1:8000"),
        ("fd00::7", "http://[fd00::7]:8000"),
        ("10.0.0.5", "http://10.0.0.5:8000"),
    ],
)
def test_a_server_on_a_wildcard_address_is_reached_by_loopback(host: str, url: str) -> None:
    assert service_url(host, 8000) == url


def test_names_and_words_of_a_stranger_are_plain_and_short(
    server: FakeServer, api: VllmApi
) -> None:
    evil = "m\x1b[2J\x07\r\n<2>x\x00\x9b\u202e" + "y" * 5000
    server.replies["GET /v1/models"] = says(json.dumps({"data": [{"id": evil, "root": evil}]}))
    server.replies["GET /version"] = says(json.dumps({"version": evil}))
    server.replies["GET /openapi.json"] = says(json.dumps({"error": {"message": evil}}), 500)
    server.replies["GET /metrics"] = says(
        'vllm:num_requests_running 0\nvllm:cache_config_info{cache_dtype="a\x1b\\nb"} 1\n'
    )
    models, version, counters = api.models(), api.version(), api.counters()
    assert not isinstance(models, ApiFailure)
    assert not isinstance(counters, ApiFailure)
    texts = [models[0].id, str(models[0].root), str(version)]
    assert str(api.routes()).isprintable()
    assert all(text.isprintable() and len(text) <= 300 for text in texts)
    assert counters.cache_config["cache_dtype"] == "a? b"
