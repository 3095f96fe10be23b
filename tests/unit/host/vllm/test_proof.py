# SPDX-License-Identifier: Apache-2.0
"""What each kind of model and each front end answers, and what that proves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from agent.host.vllm.api import VllmApi
from agent.host.vllm.proof import Did, Missed, Prober, Proof, Refused
from tests.given.fake_http import FakeServer, dribbles, says, serving, unused_port

COMPLETION = {"choices": [{"text": " a"}], "usage": {"completion_tokens": 1}}
EMBEDDING = {"data": [{"embedding": [0.5, -0.25, 0.1]}]}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        fake.replies["GET /v1/models"] = says('{"data": [{"id": "m"}]}')
        yield fake


def has(server: FakeServer, *routes: str) -> None:
    server.replies["GET /openapi.json"] = says(
        json.dumps({"paths": {route: {} for route in routes}})
    )


def answers(server: FakeServer, path: str, document: object, status: int = 200) -> None:
    server.replies[f"POST {path}"] = says(json.dumps(document), status)


def prove(server: FakeServer, seconds: float = 5.0) -> Proof:
    return Prober(VllmApi(server.url, connect_seconds=0.5, read_seconds=1.0), "m").prove(seconds)


WORK: dict[str, tuple[tuple[str, ...], str, object]] = {
    "completion": (("/v1/completions", "/v1/chat/completions"), "/v1/completions", COMPLETION),
    "embedding": (("/pooling", "/v1/embeddings", "/score"), "/v1/embeddings", EMBEDDING),
    "score": (("/pooling", "/classify", "/score"), "/score", {"data": [{"score": 0.9}]}),
    "classification": (("/pooling", "/classify"), "/classify", {"data": [{"probs": [0.9]}]}),
    "pooling": (("/pooling",), "/pooling", {"data": [{"data": [[0.1, 0.2], [0.3, 0.4]]}]}),
    "transcription": (("/v1/audio/transcriptions",), "/v1/audio/transcriptions", {"text": ""}),
}


@pytest.mark.parametrize("item", WORK)
def test_each_kind_of_model_proves_itself_by_its_own_work(server: FakeServer, item: str) -> None:
    routes, path, document = WORK[item]
    has(server, "/health", *routes)
    answers(server, path, document)
    proof = prove(server)
    assert isinstance(proof, Did), proof
    assert proof.work.item == item


@pytest.mark.parametrize("item", WORK)
def test_a_server_without_a_list_of_routes_is_asked_until_one_kind_of_work_fits(
    server: FakeServer, item: str
) -> None:
    """--disable-fastapi-docs; and releases before 0.12, which have all routes."""
    _, path, document = WORK[item]
    for other in ("/v1/completions", "/v1/embeddings", "/score", "/classify", "/pooling"):
        answers(server, other, {"error": {"message": "The model does not support it"}}, 400)
    answers(server, path, document)
    proof = prove(server)
    assert isinstance(proof, Did), proof
    assert proof.work.item == item


@pytest.mark.parametrize(
    "document",
    [
        {"data": []},
        {"data": [{"embedding": []}]},
        {"data": [{"embedding": [0.0, 0.0]}]},
        {"data": [{"embedding": ["x"]}]},
        {"data": [{"embedding": [float("nan"), 1.0]}]},
        {},
        [],
    ],
)
def test_an_embedding_of_nothing_proves_nothing(server: FakeServer, document: object) -> None:
    has(server, "/v1/embeddings")
    answers(server, "/v1/embeddings", document)
    assert isinstance(prove(server), Missed)


@pytest.mark.parametrize(
    ("item", "document", "values"),
    [
        ("score", {"data": [{"score": 0.0}]}, (0.0,)),
        ("pooling", {"data": [{"data": [[0.25], [-0.5], [0.0]]}]}, (0.0,)),
        ("pooling", {"data": [{"data": [0.25, 0.5]}]}, (0.25, 0.5)),
    ],
)
def test_a_score_of_nothing_is_a_score_and_of_a_row_for_each_token_the_last_one_counts(
    server: FakeServer, item: str, document: object, values: tuple[float, ...]
) -> None:
    routes, path, _ = WORK[item]
    has(server, *routes)
    answers(server, path, document)
    proof = prove(server)
    assert isinstance(proof, Did), proof
    assert proof.came.values == values


def test_a_server_that_reads_no_sound_is_told_with_what_it_lacks(server: FakeServer) -> None:
    has(server, "/v1/audio/transcriptions")
    error = {"error": {"message": "Invalid or unsupported audio file."}}
    answers(server, "/v1/audio/transcriptions", error, 400)
    proof = prove(server)
    assert isinstance(proof, Refused), proof
    assert "is vllm[audio] installed?" in proof.why


REFUSALS: dict[str, tuple[int, object, str]] = {
    "a key that is set elsewhere": (401, {"error": "Unauthorized"}, "needs a key: api_key_file"),
    "a proxy's key": (403, {"detail": "no"}, "needs a key: api_key_file"),
    "a paused engine of 0.33": (
        503,
        {
            "error": {
                "message": "Generation is paused. Please retry after it resumes.",
                "type": "ServiceUnavailableError",
                "code": 503,
            }
        },
        "Generation is paused",
    ),
    "a service that scales": (503, {"error": "The model is currently scaling."}, "scaling"),
    "a retired rank": (
        503,
        {
            "error": {
                "message": "This data-parallel rank has been retired and is awaiting shutdown."
            }
        },
        "retired",
    ),
    "no such model": (404, {"error": {"message": "The model `m` does not exist."}}, "404"),
    "a request that is too large": (413, {"detail": "too large"}, "413"),
    "a full queue": (429, {"error": {"message": "Too many queued requests."}}, "429"),
}


@pytest.mark.parametrize("story", REFUSALS)
def test_a_refusal_of_the_front_end_is_neither_life_nor_death(
    server: FakeServer, story: str
) -> None:
    status, document, words = REFUSALS[story]
    has(server, "/v1/completions")
    answers(server, "/v1/completions", document, status)
    proof = prove(server)
    assert isinstance(proof, Refused), proof
    assert words in proof.why
    assert proof.queue_full is (status == 429)


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (500, {"error": {"message": "EngineCore encountered an issue.", "code": 500}}),
        (200, {"error": {"message": "EngineCore encountered an issue.", "code": 500}}),
        (200, {"choices": []}),
    ],
)
def test_an_error_of_the_engine_is_a_miss(
    server: FakeServer, status: int, document: object
) -> None:
    has(server, "/v1/completions")
    answers(server, "/v1/completions", document, status)
    assert isinstance(prove(server), Missed)


def test_silence_is_a_miss_and_nobody_listening_is_one_too(server: FakeServer) -> None:
    has(server, "/v1/completions")
    server.replies["POST /v1/completions"] = dribbles(server, b"HTTP/1.1 200 OK\r\n", b"")
    assert isinstance(prove(server, 0.3), Missed)
    away = Prober(VllmApi(f"http://127.0.0.1:{unused_port()}", connect_seconds=0.2), "m")
    gone = away.prove(1.0)
    assert isinstance(gone, Missed)
    assert gone.away


@pytest.mark.parametrize(
    ("route", "state", "words"),
    [
        ("/is_paused", {"is_paused": True}, "paused"),
        ("/is_sleeping", {"is_sleeping": True}, "sleeps"),
        (
            "/fault_tolerance/status",
            {"engines": [{"id": 0, "status": "healthy"}, {"id": 1, "status": "unhealthy"}]},
            "unhealthy",
        ),
    ],
)
def test_an_engine_that_is_silent_by_design_is_not_asked_for_work(
    server: FakeServer, route: str, state: dict[str, Any], words: str
) -> None:
    has(server, "/v1/completions", route)
    server.replies[f"GET {route}"] = says(json.dumps(state))
    proof = prove(server)
    assert isinstance(proof, Refused), proof
    assert words in proof.why
    assert not [path for path, _ in server.asked if path == "POST /v1/completions"]


def test_an_engine_that_is_paused_while_the_request_waits_is_no_hung_one(
    server: FakeServer,
) -> None:
    """POST /pause with mode=keep, or that of 0.32: the request waits in the queue."""
    has(server, "/v1/completions", "/is_paused")
    states = iter((False, True))

    def paused(handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        says(json.dumps({"is_paused": next(states)}))(handler, asked)

    server.replies["GET /is_paused"] = paused
    server.replies["POST /v1/completions"] = dribbles(server, b"HTTP/1.1 200 OK\r\n", b"")
    assert isinstance(prove(server, 0.3), Refused)


def test_a_wrong_served_name_is_corrected_by_what_the_server_lists(server: FakeServer) -> None:
    has(server, "/v1/completions")
    answers(server, "/v1/completions", COMPLETION)
    prober = Prober(VllmApi(server.url), "another")
    assert isinstance(prober.prove(5.0), Did)
    [(_, body)] = [(path, body) for path, body in server.asked if path.startswith("POST")]
    assert json.loads(body)["model"] == "m"


def test_a_rank_is_named_in_the_header(server: FakeServer) -> None:
    has(server, "/v1/completions")
    ranks: list[str | None] = []

    def reply(handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        ranks.append(handler.headers.get("X-data-parallel-rank"))
        says(json.dumps(COMPLETION))(handler, asked)

    server.replies["POST /v1/completions"] = reply
    prober = Prober(VllmApi(server.url), "m")
    for engine in ("0", "3", ""):
        assert isinstance(prober.prove(5.0, engine), Did)
    assert ranks == ["0", "3", None]


def test_sound_is_sent_as_a_form(server: FakeServer) -> None:
    has(server, "/v1/audio/transcriptions")
    answers(server, "/v1/audio/transcriptions", {"text": "you"})
    assert isinstance(prove(server), Did)
    [body] = [body for path, body in server.asked if path.startswith("POST")]
    assert b'name="model"' in body
    assert b"RIFF" in body
